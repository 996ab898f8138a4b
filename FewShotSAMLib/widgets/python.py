"""Finds the Python with which Slicer runs programs of its own, and starts the background process with it."""

from __future__ import annotations

import os
from pathlib import Path

import slicer

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.worker.client import WorkerClient

PYTHON_SLICER = "PythonSlicer"


def slicerPython() -> Path:
    """Path of PythonSlicer, Slicer's Python without its window: in the folder `bin` of Slicer's home, on every system.

    `sys.executable` is the same in most cases, but empty where Slicer did not find it on the PATH, and a search of the
    PATH would begin in the user's current folder under Windows. Raises FewShotSAMError where this Slicer has none.
    """
    name = f"{PYTHON_SLICER}.exe" if os.name == "nt" else PYTHON_SLICER
    path = Path(slicer.app.slicerHome, "bin", name)
    if path.is_file():
        return path
    raise FewShotSAMError(
        _("{name} was not found beside 3D Slicer, so nothing can be computed.").format(name=PYTHON_SLICER),
        _("Install 3D Slicer again; this installation is not complete."),
    )


def createWorkerClient() -> WorkerClient:
    """The background process, not started yet, in Slicer's Python. Raises FewShotSAMError where that is not found.

    It gets Slicer's environment as it is, as pip does when Slicer installs a package: so both see the same packages.
    """
    return WorkerClient(slicerPython(), host_environment=True)
