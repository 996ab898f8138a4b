"""What PythonQt, Qt, VTK and Slicer only print or log, but must fail a test here."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import vtk

from harness.binding import QtCore

found: list[str] = []
_listeners: list[Callable[[str], None]] = []

# The "offscreen" platform says this whatever the panel does.
_HARMLESS = (
    "This plugin does not support",
    "propagateSizeHints",
    "QFontDatabase",
    "XDG_RUNTIME_DIR",
    "Populating font family aliases",
)


def report(text: str) -> None:
    """Record a problem; the test in which it happens fails at its end."""
    found.append(text)
    for listener in _listeners:
        listener(text)


def onReport(listener: Callable[[str], None]) -> None:
    """Call the function with each problem."""
    _listeners.append(listener)


def reportException() -> None:
    """Record the exception that is being handled."""
    report(traceback.format_exc())


def takeAll() -> list[str]:
    """Return and clear all problems since the last call."""
    taken = list(found)
    found.clear()
    return taken


@contextmanager
def expected(part: str) -> Iterator[None]:
    """Expect exactly one problem within this block, with `part` in its text."""
    before = len(found)
    yield
    new = found[before:]
    del found[before:]
    assert len(new) == 1, new
    assert part in new[0], new


def watch() -> None:
    """Listen to Qt's warnings, VTK's errors and uncaught exceptions."""
    QtCore.qInstallMessageHandler(_fromQt)
    sys.excepthook = lambda kind, error, trace: report("".join(traceback.format_exception(kind, error, trace)))
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToNever()
    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, _FromVtk())
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    vtk.vtkOutputWindow.SetInstance(window)


def _fromQt(kind: Any, context: Any, text: str) -> None:
    if kind != QtCore.QtMsgType.QtDebugMsg and not any(part in text for part in _HARMLESS):
        report(f"Qt: {text}")


class _FromVtk:
    CallDataType = vtk.VTK_STRING

    def __call__(self, caller: Any, event: str, text: str = "") -> None:
        report(f"VTK {event}: {text}")
