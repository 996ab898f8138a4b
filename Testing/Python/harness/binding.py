"""The Qt binding that stands in for PythonQt: PyQt5 (Qt 5) or PySide6 (Qt 6), one per process."""

import os
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

__all__ = ["LEFT_FOR_DEAD", "NAME", "Property", "QtCore", "QtGui", "QtWidgets", "Signal", "Slot", "isDeleted"]

NAME = os.environ.get("FEWSHOTSAM_QT", "PySide6")

LEFT_FOR_DEAD = "leftForDead"  # property of a widget that should have been deleted with its content

QtCore: Any
QtGui: Any
QtWidgets: Any
if NAME == "PyQt5":
    from PyQt5 import QtCore, QtGui, QtWidgets, sip

    Signal, Property, Slot = QtCore.pyqtSignal, QtCore.pyqtProperty, QtCore.pyqtSlot
elif NAME == "PySide6":
    import shiboken6
    from PySide6 import QtCore, QtGui, QtWidgets

    Signal, Property, Slot = QtCore.Signal, QtCore.Property, QtCore.Slot
else:
    raise ValueError(f"FEWSHOTSAM_QT is {NAME}; it must be PyQt5 or PySide6.")


def isDeleted(native: Any) -> bool:
    """Whether Qt has deleted an object that Python still holds, or would have if it were not in `LEFT_FOR_DEAD`."""
    while native is not None:
        if sip.isdeleted(native) if NAME == "PyQt5" else not shiboken6.isValid(native):
            return True
        if native.property(LEFT_FOR_DEAD):
            return True
        native = native.parent()
    return False
