"""Finds Slicer's Python interpreter, and starts the background process with it."""

from __future__ import annotations

import os
from pathlib import Path

import slicer

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.worker.client import WorkerClient

PYTHON_SLICER = "PythonSlicer"


def slicerPython() -> Path:
    """Path of PythonSlicer, Slicer's Python without a window: in the folder `bin` of Slicer's home, on every system.

    `sys.executable` is usually the same, but empty if Slicer did not find it on the PATH, and under Windows a search of
    the PATH would start in the user's current folder. Raises FewShotSAMError if this Slicer has none.
    """
    name = f"{PYTHON_SLICER}.exe" if os.name == "nt" else PYTHON_SLICER
    path = Path(slicer.app.slicerHome, "bin", name)
    if path.is_file():
        return path
    raise FewShotSAMError(
        _("{name} was not found in 3D Slicer's folder, so nothing can be computed.").format(name=PYTHON_SLICER),
        _("Install 3D Slicer again; this installation is incomplete."),
    )


def createWorkerClient() -> WorkerClient:
    """The background process, not started yet, in Slicer's Python. Raises FewShotSAMError if that is not found.

    It gets Slicer's environment unchanged, as pip does when Slicer installs a package, so both see the same packages.
    """
    return WorkerClient(slicerPython(), host_environment=True)
