"""Killed, cancelled, started twice: real jobs in the real background process lose nothing, leave no partial files."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brief
import made_jobs
import numpy as np
import painted
import pytest
from processes import children_of, is_alive, wait_until
from warm import BriefClient, WarmClient

from FewShotSAMLib.core.errors import CancelledError
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.worker.client import WorkerClient, WorkerDiedError

SLICES = 12


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    """A quick propagation with its own cache; the folder's name is not ASCII."""
    folder = tmp_path / "Größe 腹部"
    folder.mkdir()
    return {
        **painted.write(folder, (4, 8), ("liver", "spleen"), SLICES, seed=1),
        "output": str(folder / "result.seg.nrrd"),
        "save_model": str(folder / "organs.fewshot"),
        "cache": str(tmp_path / "cache"),
        "encoder": "tiny",
        "device": "cpu",
        "steps": 3,
        "augmented_copies": 1,
        "model_as_is": True,  # otherwise each run learns for a minute what these tests do not need
    }


@pytest.fixture
def brief_client(worker_python: str, tmp_path: Path) -> Iterator[BriefClient]:
    """A background process for this test alone."""
    client = BriefClient(worker_python, tmp_path / "home", None)
    yield client
    client.close()


def at(stage: str, act: Callable[[], None], done: int = 1) -> Callable[[Any], None]:
    """A listener that acts once, when `done` steps of the stage are reported."""
    acted = []

    def listen(event: Any) -> None:
        if event["type"] == "progress" and event["stage"] == stage and event["done"] >= done and not acted:
            acted.append(stage)
            act()

    return listen


def test_after_kill_9_the_next_run_goes_on_and_is_right(
    parameters: dict[str, Any], brief_client: BriefClient, warm_client: WarmClient
) -> None:
    output = Path(parameters["output"])
    encoded = []
    for stage, done in (("encode", 4), ("learn", 2)):
        brief_client.start()
        kill = at(stage, functools.partial(os.kill, brief_client.pid or 0, signal.SIGKILL), done)
        asked = []

        def listen(event: Any, kill: Any = kill, asked: Any = asked) -> None:
            asked += [event["total"]] if event.get("stage") == "encode" and event["done"] == 0 else []
            kill(event)

        job = brief_client.request("propagate", parameters)
        with pytest.raises(WorkerDiedError):
            brief_client.wait(job, listen)
        assert sorted(path.name for path in output.parent.iterdir()) == ["volume-painted.seg.nrrd", "volume.nrrd"]
        encoded.append(sum(asked))
    brief_client.start()
    resumed = brief_client.wait(brief_client.request("propagate", parameters))
    with warm_client as client:
        again = client.wait(client.request("propagate", {**parameters, "no_cache": True, "cache": None}))
    assert again["encoder"]["slices_encoded"] >= encoded[0] >= SLICES > encoded[1], encoded
    # The two painted slices are encoded once more for the model file, last of all.
    assert resumed["encoder"]["slices_encoded"] <= 2
    assert resumed["slices"] == again["slices"], "resumed from the cache or made afresh: the same"


SLOW_WRITER = """
import sys, time
from pathlib import Path
sys.path.append(sys.argv[1])
from brief import BriefServer

def half_a_file(path, data):
    with path.open("wb") as stream:
        stream.write(b"half")
    time.sleep(60)

Path.write_bytes = half_a_file
sys.exit(BriefServer().run())
"""


def holds_half_a_model(folder: Path) -> bool:
    for path in folder.glob("*.fewshot"):
        with contextlib.suppress(FileNotFoundError):  # the check whether it can be written creates and removes it
            if path.read_bytes() == b"half":
                return True
    return False


def test_kill_9_in_the_middle_of_writing_leaves_what_was_there(
    parameters: dict[str, Any], tmp_path: Path, warm_client: WarmClient
) -> None:
    folder = Path(parameters["output"]).parent
    with warm_client as client:
        client.wait(client.request("propagate", parameters))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    script = tmp_path / "slow_writer.py"
    script.write_text(SLOW_WRITER, encoding="utf-8")
    with WorkerClient(arguments=[str(script), str(Path(brief.__file__).parent)]) as client:
        job = client.request("propagate", {**parameters, "steps": 0})
        while not holds_half_a_model(folder):
            assert all(event["type"] not in ("error", "result") for event in client.poll(timeout_s=0.05))
        assert len(list(folder.iterdir())) > len(before), "both outputs lie half done beside their final names"
        os.kill(client.pid or 0, signal.SIGKILL)
        with pytest.raises(WorkerDiedError):
            client.wait(job)
    wait_until(lambda: len(list(folder.iterdir())) <= len(before), 5)  # the watchdog cleans up
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.quiet
def test_cancel_is_answered_within_a_second_and_the_process_lives_on(parameters: dict[str, Any]) -> None:
    with WorkerClient() as client:
        client.start()
        pid, asked = client.pid, list[float]()
        for stage in ("encode", "learn"):
            job = client.request("propagate", {**parameters, "steps": 500})

            def cancel(job: str = job) -> None:
                asked.append(time.monotonic())
                client.cancel(job)

            with pytest.raises(CancelledError):
                client.wait(job, at(stage, cancel))
            assert time.monotonic() - asked[-1] < 1.0, stage
            assert not Path(parameters["output"]).exists()
        client.wait(client.request("propagate", {**parameters, "steps": 0, "range": [5, 6]}))
        assert client.pid == pid


def test_two_processes_on_one_volume_are_both_right(
    parameters: dict[str, Any], brief_client: BriefClient, warm_client: WarmClient
) -> None:
    other = {**parameters, "output": parameters["output"].replace("result", "other"), "save_model": None}
    with brief_client as first, warm_client as second:
        jobs = first.request("propagate", parameters), second.request("propagate", other)
        reports = first.wait(jobs[0]), second.wait(jobs[1])
    assert reports[0]["slices"] == reports[1]["slices"]
    results = [read_segmentation(Path(report["output"])).layers for report in reports]
    np.testing.assert_array_equal(results[0], results[1])


def test_previews_show_slices_meanwhile(parameters: dict[str, Any], tmp_path: Path, warm_client: WarmClient) -> None:
    seen: dict[int, np.ndarray] = {}

    def listen(event: Any) -> None:
        if event["type"] == "preview":
            for index, classes in zip(event["slices"], np.load(event["path"]), strict=True):
                seen[index] = classes

    with warm_client as client:
        client.wait(client.request("propagate", {**parameters, "job_folder": str(tmp_path)}), listen)
    result = read_segmentation(Path(parameters["output"])).layers[0]
    values = np.array([0, *(segment.label_value for segment in read_segmentation(parameters["output"]).segments)])
    assert sorted(seen) == [index for index in range(SLICES) if index not in (4, 8)]
    for index, classes in seen.items():
        np.testing.assert_array_equal(values[classes], result[index])


@pytest.mark.skipif(sys.platform == "win32", reason="process groups and SIGKILL are POSIX")
def test_killing_the_command_takes_the_background_process_with_it(parameters: dict[str, Any]) -> None:
    inputs = "propagate", parameters["volume"], parameters["annotation"], "-o", parameters["output"]
    more = "--steps", "2000", "--encoder", "tiny", "--json", "-"
    process = made_jobs.started(Path(brief.__file__), *inputs, *more)
    worker = next(pid for line in process.stdout if '"learn"' in line for pid in children_of(process.pid))
    process.kill()
    process.wait()
    assert wait_until(lambda: not is_alive(worker), 2)
    assert not Path(parameters["output"]).exists()


@pytest.mark.parametrize("delay_s", [0.0, 0.15, 0.5, 1.5])
def test_ctrl_c_is_one_line_from_the_first_import(delay_s: float, parameters: dict[str, Any]) -> None:
    code = "import FewShotSAMLib.start as s, sys; print('here', flush=True); sys.exit(s.main())"
    command = [sys.executable, "-c", code, "propagate", parameters["volume"], parameters["annotation"]]
    with subprocess.Popen(
        [*command, "-o", parameters["output"], "--steps", "50000", "--no-cache"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        time.sleep(0.05 + delay_s)  # signals before the call are handled by Python itself
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    lines = [line for line in errors.splitlines() if line.startswith("error:")]
    assert process.returncode == 4 and len(lines) == 1 and "Traceback" not in errors, errors
    assert not Path(parameters["output"]).exists()


def test_nothing_that_takes_time_is_imported_before_ctrl_c_is_caught() -> None:
    code = "import sys; before = set(sys.modules); import FewShotSAMLib.start; print(*set(sys.modules) - before)"
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    slow = {"typing", "re", "enum", "signal", "importlib", "collections", "contextlib", "argparse", "numpy"}
    assert "FewShotSAMLib.start" in done.stdout.split() and not slow & set(done.stdout.split()), done.stdout
