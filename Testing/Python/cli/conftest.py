"""A command line whose background process runs jobs made for the tests."""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from FewShotSAMLib.cli import cohort as cli_cohort
from FewShotSAMLib.cli import run as cli_run
from FewShotSAMLib.cohort import pool
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.worker.process import worker_environment

JOBS_SCRIPT = """
import json, os, sys, time
from pathlib import Path
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.worker.server import Server

def propagate(parameters, context):
    stem = Path(parameters["volume"]).stem
    for done in range(0, 101):
        context.progress("encode", done, 100)
    context.warning("The spacing is [irregular].")
    if stem == "bad":
        raise BadInputError("The file\\nis empty.", "Paint it.")
    if stem == "memory":
        raise MemoryError
    if stem == "bug":
        raise KeyError("oops")
    if stem == "die":
        os.abort()
    with atomic_path(Path(parameters["output"])) as partial:
        partial.write_text(json.dumps(parameters))
        while stem == "slow":
            context.check()
            time.sleep(0.02)
        if stem == "stubborn":
            context.progress("write", 0, 1)
            time.sleep(60)
    report = {
        "output": parameters["output"],
        "segments": [{"name": "Leber [ü]", "painted_slices": [3, 9, 12], "volume_ml": 1481.25}, {"name": "Milz"}],
        "encoder": {"name": "tiny", "device": "cpu", "precision": "fp32"},
        "mean_confidence": 0.876,
        "next_slices": [17, 4],
        "warnings": context.warnings,
    }
    if "report" in parameters:
        Path(parameters["report"]).write_text(json.dumps(report))
    return report

def apply(parameters, context):
    return {**propagate(parameters, context), "process": os.getpid()}

def describe(parameters, context):
    if "damaged" in parameters["path"]:
        raise BadInputError("The few-shot model is damaged.", "Learn it again.")
    return {}

if __name__ == "__main__":
    sys.exit(Server(jobs={"propagate": propagate, "apply": apply, "describe": describe}).run())
"""

COMMAND_LINE_SCRIPT = """
import functools, sys
from FewShotSAMLib.cli import cohort, main, run
from FewShotSAMLib.cohort import pool
from FewShotSAMLib.worker import WorkerClient
for module in (run, cohort, pool):
    module.WorkerClient = functools.partial(WorkerClient, arguments=[sys.argv[1]])
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def jobs_script(tmp_path: Path) -> Path:
    """A program that serves the test jobs."""
    script = tmp_path / "jobs.py"
    script.write_text(JOBS_SCRIPT, encoding="utf-8")
    return script


@pytest.fixture
def with_test_jobs(jobs_script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` in this process uses the test jobs."""
    for module in (cli_run, cli_cohort, pool):
        monkeypatch.setattr(module, "WorkerClient", functools.partial(WorkerClient, arguments=[str(jobs_script)]))


@pytest.fixture
def start_command_line(jobs_script: Path) -> Callable[..., subprocess.Popen[str]]:
    """`start_command_line(*arguments)`: the command line as a process of its own, with the test jobs."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", COMMAND_LINE_SCRIPT, str(jobs_script), *arguments]
        environment = worker_environment(os.environ)
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, env=environment, text=True, encoding="utf-8"
        )

    return start


@pytest.fixture(scope="module")
def kept_client() -> Iterator[WorkerClient]:
    """One real background process for all tests of a file: starting one takes longer than most of them."""
    with WorkerClient() as client:
        yield client


@pytest.fixture
def in_kept_process(kept_client: WorkerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` in this process sends its jobs to the kept background process."""

    def keep() -> contextlib.AbstractContextManager[WorkerClient]:
        kept_client.start()
        return contextlib.nullcontext(kept_client)

    monkeypatch.setattr(cli_run, "WorkerClient", keep)
