"""Stand-in of Slicer's registry of Segment Editor effects."""

from typing import Any

import slicer

from harness.binding import QtCore, Signal
from harness.pythonqt import nativeClasses, proxyClass, standIn


@standIn
class qSlicerSegmentEditorEffectFactory(QtCore.QObject):
    """As in qSlicerSegmentEditorEffectFactory.h of Slicer 5.10 to 5.13: one instance, one signal."""

    effectRegistered = Signal(str)
    _one: Any = None

    @classmethod
    def instance(cls) -> Any:
        if cls._one is None:
            cls._one = cls()
        return cls._one


slicer.qSlicerSegmentEditorEffectFactory = proxyClass(nativeClasses["qSlicerSegmentEditorEffectFactory"])
