"""A command line whose background process runs jobs written for the tests.

The fixtures are for folders whose own `jobs_script` is a program that serves such jobs.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from FewShotSAMLib.cli import cohort, propagate
from FewShotSAMLib.cohort import pool
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.worker.process import worker_environment

COMMAND_LINE = """
import functools, sys
from FewShotSAMLib.cli import cohort, main, propagate
from FewShotSAMLib.cohort import pool
from FewShotSAMLib.worker import WorkerClient
for module in (propagate, cohort, pool):
    module.WorkerClient = functools.partial(WorkerClient, arguments=[sys.argv[1]])
sys.exit(main(sys.argv[2:]))
"""


def use(script: Path, monkeypatch: pytest.MonkeyPatch, *more: ModuleType) -> None:
    """Make `main` in this process, and further modules, use the jobs that the script serves."""
    for module in (propagate, cohort, pool, *more):
        monkeypatch.setattr(module, "WorkerClient", functools.partial(WorkerClient, arguments=[str(script)]))


def started(script: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start the command line as a separate process with these jobs."""
    command = [sys.executable, "-c", COMMAND_LINE, str(script), *map(str, arguments)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **streams, env=worker_environment(os.environ), text=True, encoding="utf-8")


@pytest.fixture
def with_test_jobs(jobs_script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `main` in this process use the test jobs."""
    use(jobs_script, monkeypatch)


@pytest.fixture
def start_command_line(jobs_script: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_command_line(*arguments)`: the command line as a separate process, which at last ends with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        processes.append(started(jobs_script, *arguments))
        return processes[-1]

    yield start
    for process in processes:
        with process:
            process.kill()
