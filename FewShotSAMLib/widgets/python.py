"""Finds the Python with which Slicer runs programs of its own, and starts the background process with it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.worker.client import WorkerClient

PYTHON_SLICER = "PythonSlicer"


def slicerPython() -> Path:
    """Path of PythonSlicer, Slicer's Python without its window. `sys.executable` is not it: that is Slicer itself.

    Raises FewShotSAMError where this Slicer has none.
    """
    found = shutil.which(PYTHON_SLICER)  # Slicer's launcher puts its folder on the PATH, as slicer.util relies on, too
    candidates = [Path(found)] if found else []
    name = f"{PYTHON_SLICER}.exe" if os.name == "nt" else PYTHON_SLICER
    # Without the launcher, as on macOS: it lies beside the application, or in `bin` of its folder.
    beside = Path(sys.executable).resolve().parent
    candidates += [folder / name for folder in (beside, beside.parent / "bin")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FewShotSAMError(
        _("{name} was not found beside 3D Slicer, so nothing can be computed.").format(name=PYTHON_SLICER),
        _("Install 3D Slicer anew; this installation is not complete."),
    )


def createWorkerClient() -> WorkerClient:
    """The background process, not started yet, in Slicer's Python. Raises FewShotSAMError where that is not found.

    It gets Slicer's environment as it is, as pip does when Slicer installs a package: so both see the same packages.
    """
    return WorkerClient(slicerPython(), host_environment=True)
