"""Which Python the background process gets inside Slicer, and that it runs there in Slicer's own environment."""

import os
import sys
import time
from pathlib import Path

import pytest
from harness.launcher import makePythonSlicer

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.widgets import python
from FewShotSAMLib.widgets.python import createWorkerClient, slicerPython


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def slicer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slicer's folder; `sys.executable` is Slicer itself there, and nothing is on the PATH yet."""
    application = program(tmp_path / "Slicer 5.12" / "bin" / "SlicerApp-real")
    monkeypatch.setattr(sys, "executable", str(application))
    monkeypatch.setenv("PATH", "/nowhere")
    return application.parents[1]


def test_the_one_on_the_path_comes_first(slicer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(slicer / "bin" / "PythonSlicer")
    other = program(tmp_path / "other" / "PythonSlicer")
    monkeypatch.setenv("PATH", str(other.parent))
    assert slicerPython() == other


def test_beside_the_application(slicer: Path) -> None:
    expected = program(slicer / "bin" / "PythonSlicer")
    assert slicerPython() == expected


def test_in_the_folder_bin_beside_the_applications_own(slicer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = program(slicer / "bin" / "PythonSlicer")
    monkeypatch.setattr(sys, "executable", str(program(slicer / "MacOS" / "Slicer")))
    assert slicerPython() == expected


def test_incomplete_slicer_is_an_error_with_a_next_step(slicer: Path) -> None:
    with pytest.raises(FewShotSAMError, match="Install 3D Slicer anew"):
        slicerPython()


@pytest.mark.skipif(os.name != "posix", reason="PythonSlicer is a script here")
def test_background_process_starts_through_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PythonSlicer does: a program that prepares the environment and runs the real Python as its child."""
    launcher = makePythonSlicer(tmp_path)
    monkeypatch.setattr(python.shutil, "which", lambda name: str(launcher) if name == "PythonSlicer" else None)
    monkeypatch.setenv("QT_PLUGIN_PATH", "Slicer's own")
    client = createWorkerClient()
    assert client._environment["QT_PLUGIN_PATH"] == "Slicer's own"
    with client:
        deadline = time.monotonic() + 60
        events: list[str] = []
        while "ready" not in events and time.monotonic() < deadline:
            events += [event["type"] for event in client.poll(timeout_s=0.2)]
        assert "ready" in events
    assert not client.running
