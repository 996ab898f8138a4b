"""Runs the panel's tests in a separate process, with PyQt5 (Qt 5, as in Slicer 5.10 and 5.12) or PySide6 (Qt 6).

They run in a Python like Slicer's, 3.12 and without torch, if FEWSHOTSAM_TEST_SLICER names one; the background process
then uses the Python that runs this file.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / "Testing" / "Python" / "widgets"
SLICER_PYTHON = os.environ.get("FEWSHOTSAM_TEST_SLICER", sys.executable)
PATIENCE_S = 1800


@functools.cache
def need(name: str) -> None:
    """Skip if this binding, or slicer-core, is not installed, or lacks a system library."""
    code = f"import slicer, vtk; from {name} import QtWidgets; QtWidgets.QApplication([])"
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([SLICER_PYTHON, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no {name} with slicer-core in {SLICER_PYTHON}: {done.stderr.strip().splitlines()[-1:]}")


def check_panel(binding: str, *left_out: str, only: str = "", tries: int = 1) -> None:
    """Run the tests of the folder widgets, except some files, or those of one file, with this binding. One of the tries
    has to pass: where times are held, a virtual machine's own pauses are among them."""
    environment = {**os.environ, "FEWSHOTSAM_QT": binding, "QT_QPA_PLATFORM": "offscreen"}
    environment.setdefault("FEWSHOTSAM_TEST_WORKER", sys.executable)
    ignored = [f"--ignore={FOLDER / name}" for name in left_out]
    command = [SLICER_PYTHON, "-m", "pytest", "-x", "-p", "no:cacheprovider", *ignored, str(FOLDER / only)]
    for _ in range(tries):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def check_library_is_found(binding: str, tmp_path: Path) -> None:
    """Check it as with Slicer's --additional-module-paths, in a process without this repository on its path."""
    code = f"""
import sys
from pathlib import Path
sys.path[:] = [entry for entry in sys.path if not (Path(entry) / "FewShotSAMLib" / "__init__.py").is_file()]
sys.path.append({str(REPOSITORY / "Testing" / "Python")!r})
from harness import application
application.start(Path({str(tmp_path)!r}))
sys.excepthook = sys.__excepthook__
import importlib.util
assert getattr(importlib.util.find_spec("FewShotSAMLib"), "origin", None) is None
from harness import scripted
scripted.loadModule(Path({str(REPOSITORY / "FewShotSAM" / "FewShotSAM.py")!r}))
import FewShotSAMLib.widgets.panel
heavy = {{"torch", "torchvision", "h5py", "safetensors", "segment_anything", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
print(FewShotSAMLib.__file__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["FEWSHOTSAM_QT"] = binding
    done = subprocess.run(
        [SLICER_PYTHON, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1].startswith(str(REPOSITORY))
