"""Sends VTK's own messages to a log file: on a terminal they would bury the address that the user looks for."""

from __future__ import annotations

import os
import time

import vtk

from FewShotSAMLib.worker.logs import log_folder


def log_vtk_to_file() -> None:
    """Redirect the messages from now on; if no file can be written, they are dropped."""
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    folder = log_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        vtk.vtkObject.GlobalWarningDisplayOff()
        return
    window = vtk.vtkFileOutputWindow()
    window.SetFileName(str(folder / f"web-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"))
    window.FlushOn()
    vtk.vtkOutputWindow.SetInstance(window)
