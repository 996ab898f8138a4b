"""Whatever happens to the parent, the background process does not outlive it by more than two seconds."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import children_of, is_alive, wait_until
from worker.conftest import next_event

from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.worker.process import worker_environment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")

PARENT_SCRIPT = """
import sys
from FewShotSAMLib.worker import WorkerClient
client = WorkerClient(arguments=[sys.argv[1]])
client.start()
client.request(sys.argv[2], {"output": sys.argv[3]})
print(client.pid, flush=True)
while True:
    for event in client.poll(1):
        if event["type"] in ("preview", "progress"):
            print(event.get("file", ""), flush=True)
"""


@pytest.mark.parametrize("job", ["slow", "hold_lock", "write", "stubborn"])
def test_a_killed_parent_leaves_no_process_and_no_file(jobs_script: Path, tmp_path: Path, job: str) -> None:
    """`hold_lock` is the hard case: no Python code can run in the worker while its C call lasts."""
    output = tmp_path / "out.seg.nrrd"
    command = [sys.executable, "-c", PARENT_SCRIPT, str(jobs_script), job, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=worker_environment(), text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.stdout.readline()
        watchdogs = children_of(worker)
        assert is_alive(worker)
        parent.kill()
        assert wait_until(lambda: not is_alive(worker), 20)
    assert wait_until(lambda: not any(is_alive(process) for process in watchdogs), 20)
    assert wait_until(lambda: list(tmp_path.iterdir()) == [jobs_script], 20)


def test_a_parents_thread_may_end_without_ending_the_worker(jobs_script: Path) -> None:
    """The caveat of Linux's own parent-death signal, which is why it is not used."""
    import threading

    client = WorkerClient(arguments=[str(jobs_script)])
    starter = threading.Thread(target=client.start)
    starter.start()
    starter.join()
    time.sleep(0.3)
    assert client.wait(client.request("echo"))["runs"] == 1
    client.close()


def test_a_client_that_is_lost_ends_its_worker(jobs_script: Path) -> None:
    client = WorkerClient(arguments=[str(jobs_script)])
    client.start()
    client.wait(client.request("echo"))
    worker = client.pid
    del client
    gc.collect()
    assert wait_until(lambda: not is_alive(worker), 2)


def test_a_request_in_the_middle_of_a_long_call_wakes_no_watchdog(client: WorkerClient, tmp_path: Path) -> None:
    """Unread requests in the pipe do not mean the end of the pipe."""
    client.request("hold_lock", {"output": str(tmp_path / "out.nrrd")})
    next_event(client, "preview")
    client.request("echo")
    time.sleep(1.5)
    assert client.running


def test_a_killed_watchdog_does_not_stop_the_work(client: WorkerClient) -> None:
    client.wait(client.request("echo"))
    watchdogs = children_of(client.pid)
    if not watchdogs:
        pytest.skip("needs /proc")
    os.kill(watchdogs[0], signal.SIGKILL)
    for number in range(3):
        assert client.wait(client.request("echo"))["runs"] == number + 2


def test_the_real_worker_ends_when_stdin_closes() -> None:
    process = subprocess.run(
        [sys.executable, "-P", "-m", "FewShotSAMLib.worker"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=worker_environment(),
        timeout=20,
        check=False,
    )
    assert process.returncode == 0
    assert process.stdout.startswith(b'{"type": "ready"')
