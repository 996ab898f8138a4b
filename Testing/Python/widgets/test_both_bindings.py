"""All tests of this folder, once with PyQt5 (Qt 5, as in Slicer 5.10 and 5.12) and once with PySide6 (Qt 6)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("binding", ["PyQt5", "PySide6"])
def test_panel(binding: str) -> None:
    for needed in (binding, "slicer", "vtk"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    environment = {**os.environ, "FEWSHOTSAM_QT": binding, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", str(Path(__file__).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_the_library_is_found_beside_the_module_when_only_the_module_is_on_the_path(tmp_path: Path) -> None:
    """As with Slicer's --additional-module-paths; in a process without this repository on its path."""
    repository = Path(__file__).resolve().parents[3]
    code = f"""
import sys
from pathlib import Path
sys.path[:] = [entry for entry in sys.path if not (Path(entry) / "FewShotSAMLib" / "__init__.py").is_file()]
sys.path.append({str(repository / "Testing" / "Python")!r})
from harness import application
application.start(Path({str(tmp_path)!r}))
sys.excepthook = sys.__excepthook__
import importlib.util
assert getattr(importlib.util.find_spec("FewShotSAMLib"), "origin", None) is None
application.loadModule(Path({str(repository / "FewShotSAM" / "FewShotSAM.py")!r}))
import FewShotSAMLib.widgets.panel
heavy = {{"torch", "torchvision", "h5py", "safetensors", "segment_anything"}} & set(sys.modules)
assert not heavy, heavy
print(FewShotSAMLib.__file__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1].startswith(str(repository))
