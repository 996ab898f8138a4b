"""Which Python the background process gets inside Slicer, and that it runs there in Slicer's own environment."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness.launcher import makePythonSlicer

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.widgets import python
from FewShotSAMLib.widgets.python import createWorkerClient, slicerPython


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slicer's home: the installation's folder; on macOS Slicer.app/Contents (qSlicerCoreApplication.cxx)."""
    home = tmp_path / "Slicer 5.12"
    monkeypatch.setattr(python.slicer, "app", SimpleNamespace(slicerHome=str(home)), raising=False)
    return home


@pytest.mark.parametrize(("system", "name"), [("posix", "PythonSlicer"), ("nt", "PythonSlicer.exe")])
def test_in_bin_of_slicers_home(home: Path, monkeypatch: pytest.MonkeyPatch, system: str, name: str) -> None:
    expected = program(home / "bin" / name)
    monkeypatch.setattr(python, "os", SimpleNamespace(name=system))
    assert slicerPython() == expected


@pytest.mark.parametrize("executable", ["", "/usr/bin/python3"])
def test_nothing_in_the_current_folder_or_on_the_path_is_taken(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    """Slicer leaves `sys.executable` empty if it did not find PythonSlicer; shutil.which searches here, too."""
    here = tmp_path / "downloads"
    program(here / "PythonSlicer")
    program(here.parent / "bin" / "PythonSlicer")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", str(here))
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(FewShotSAMError, match="Install 3D Slicer again"):
        slicerPython()


@pytest.mark.skipif(os.name != "posix", reason="PythonSlicer is a script here")
def test_background_process_starts_through_a_launcher(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like PythonSlicer: a program that prepares the environment and runs the real Python as its child."""
    makePythonSlicer(home)
    monkeypatch.setenv("QT_PLUGIN_PATH", "Slicer's own")
    client = createWorkerClient()
    assert client._environment["QT_PLUGIN_PATH"] == "Slicer's own"
    with client:
        assert any("ready" in [event["type"] for event in client.poll(timeout_s=0.2)] for _ in range(300))
    assert not client.running
