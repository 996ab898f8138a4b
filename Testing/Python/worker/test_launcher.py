"""The background process behind Slicer's launcher, which hides how the process died."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.launcher import CRASHED, makePythonSlicer
from processes import children_of, is_alive, wait_until

from FewShotSAMLib.worker import WorkerClient, WorkerDiedError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, and the stand-in is a script")


@pytest.fixture
def launched(tmp_path: Path, jobs_script: Path) -> Iterator[WorkerClient]:
    """A client whose process is started as in Slicer."""
    client = WorkerClient(makePythonSlicer(tmp_path / "Slicer"), arguments=[str(jobs_script)])
    client.start()
    yield client
    client.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_the_stand_in_turns_every_crash_into_exit_code_1(tmp_path: Path, number: int) -> None:
    launcher = makePythonSlicer(tmp_path)
    code = f"import os; os.kill(os.getpid(), {int(number)})"
    done = subprocess.run([launcher, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and CRASHED in done.stderr
    passed = subprocess.run([launcher, "-c", "import sys; sys.exit(7)"], capture_output=True, text=True, check=False)
    assert (passed.returncode, passed.stderr) == (7, "")


def test_the_stand_in_hands_over_stdin_and_environment(tmp_path: Path) -> None:
    launcher = makePythonSlicer(tmp_path)
    code = "import os, sys; print(sys.stdin.read(), os.environ['SLICER_HOME'], os.environ['PYTHONPATH'])"
    environment = {**os.environ, "PYTHONPATH": "/ours", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [launcher, "-c", code], input="größer", env=environment, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.split() == ["größer", str(tmp_path), f"{tmp_path}/bin/Python:/ours"]


def test_a_job_runs_behind_the_launcher(launched: WorkerClient) -> None:
    assert launched.wait(launched.request("echo", {"text": "é"}))["parameters"]["text"] == "é"


def test_a_process_killed_for_want_of_memory_is_told_as_such(launched: WorkerClient) -> None:
    """The system kills it with SIGKILL; the launcher only says that it crashed."""
    with pytest.raises(WorkerDiedError, match=r"(?i)memory") as caught:
        launched.wait(launched.request("die", {"signal": int(signal.SIGKILL)}))
    assert "exit code" not in str(caught.value)


def test_a_crash_behind_the_launcher_is_no_mere_exit_code(launched: WorkerClient) -> None:
    with pytest.raises(WorkerDiedError, match="crashed"):
        launched.wait(launched.request("die", {"signal": int(signal.SIGSEGV)}))


def test_nothing_is_left_when_the_client_closes(launched: WorkerClient) -> None:
    launched.wait(launched.request("echo"))
    children = children_of(launched.pid)
    launched.close()
    assert children and wait_until(lambda: not any(is_alive(child) for child in children), 2)
