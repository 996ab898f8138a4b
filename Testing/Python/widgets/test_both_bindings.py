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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
