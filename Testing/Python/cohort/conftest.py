"""Rows, and background processes whose jobs are trivial."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_jobs import start_command_line as start_command_line
from made_jobs import with_test_jobs as with_test_jobs

JOBS_SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.plain_json import dumps_with_digest
from FewShotSAMLib.worker.server import Server

def apply(parameters, context):
    volume = Path(parameters["volume"])
    text = volume.read_text() if volume.is_file() else ""
    context.progress("read", 0, 1)
    if not text:
        raise BadInputError(f"{volume} is empty.", "Copy it again.")
    if text == "memory":
        raise MemoryError
    if text.startswith("dies once"):
        mark = volume.with_suffix(".died")
        if not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
    if text == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "waits":
        volume.with_suffix(".begun").write_text("")
    end = time.monotonic() + (float(text.split()[1]) if text.startswith("slow") else 0)
    while time.monotonic() < end or (text == "waits" and not volume.with_name("go").exists()):
        context.check()
        time.sleep(0.01)
    output = Path(parameters["output"])
    with atomic_path(output) as partial:
        partial.write_text(json.dumps(parameters))
        report = {
            "slices": [{"index": 3, "origin": "predicted", "confidence": 0.5 + len(text) % 50 / 100}],
            "training": {"registration": {"likeness": 0.9, "used": True}}, "mean_confidence": 0.75,
            "segments": [{"name": "Liver", "volume_ml": 1000.0}], "warnings": [], "seconds": {"total": 0.1},
            "shown": [3], "process": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS"),
            "made_of": parameters.get("made_of", ""), "device": parameters.get("device"),
        }
        status = partial.stat()
        written = {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
        with atomic_path(Path(parameters["record"])) as record:
            record.write_text(dumps_with_digest({**report, "written": written}))
    return report

def describe(parameters, context):
    if Path(parameters["path"]).read_text() == "damaged":
        raise BadInputError("The few-shot model is damaged.", "Learn it again.")
    return {}

def inspect(parameters, context):
    devices = [{"name": name} for name in os.environ.get("TEST_DEVICES", "cpu").split(",")]
    encoders = [{"name": "tiny", "memory_bytes": 600_000_000}]
    return {"devices": devices, "best_device": devices[0]["name"], "encoders": encoders, "memory_free_bytes": 8 << 30}

if __name__ == "__main__":
    sys.exit(Server(jobs={"apply": apply, "propagate": apply, "describe": describe, "inspect": inspect}).run())
"""


@pytest.fixture
def jobs_script(tmp_path: Path) -> Path:
    """A program that serves the test jobs; the content of a volume's file says what happens to it."""
    script = tmp_path / "jobs.py"
    script.write_text(JOBS_SCRIPT, encoding="utf-8")
    return script


@pytest.fixture
def write_plan(tmp_path: Path) -> Callable[..., Path]:
    """`write_plan(a="good", b="dies")`: a table of volumes with this content, and a model for all."""

    def write(**volumes: str) -> Path:
        (tmp_path / "m.fewshot").write_text("model")
        for name, text in volumes.items():
            (tmp_path / f"{name}.nrrd").write_text(text)
        rows = "".join(f"{name}.nrrd,m.fewshot,{number}\n" for number, name in enumerate(volumes))
        table = tmp_path / "plan.csv"
        table.write_text(f"Volume,model,Site\n{rows}", encoding="utf-8")
        return table

    return write


@pytest.fixture
def report() -> Callable[..., dict[str, Any]]:
    """Return a job's report with these facts."""

    def make(confidence: float = 0.9, volume: float = 100.0, **more: Any) -> dict[str, Any]:
        slices = [{"index": 4, "origin": "predicted", "confidence": confidence - 0.1}]
        slices.append({"index": 9, "origin": "painted", "confidence": 0.0})
        usual = {"mean_confidence": confidence, "slices": slices, "training": {}, "warnings": []}
        usual |= {"segments": [{"name": "Liver", "volume_ml": volume}], "seconds": {"total": 2.5}}
        return json.loads(json.dumps({**usual, **more}))

    return make
