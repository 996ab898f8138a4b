"""A command line whose background process runs jobs written for the tests."""

from pathlib import Path

import pytest
from made_jobs import start_command_line as start_command_line
from made_jobs import with_test_jobs as with_test_jobs
from warm import WarmClient

from FewShotSAMLib.cli import propagate as cli_propagate

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


@pytest.fixture
def jobs_script(tmp_path: Path) -> Path:
    """A program that serves the test jobs."""
    script = tmp_path / "jobs.py"
    script.write_text(JOBS_SCRIPT, encoding="utf-8")
    return script


@pytest.fixture
def in_kept_process(warm_client: WarmClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` in this process sends its jobs to the existing background process."""
    monkeypatch.setattr(cli_propagate, "WorkerClient", lambda: warm_client)
