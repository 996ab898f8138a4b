"""Stand-ins of Slicer's Qt objects around a module: the registry of effects, and the widget around a panel."""

from typing import Any

import slicer

from harness.binding import Property, QtCore, QtWidgets, Signal
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


@standIn
class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The widget around a scripted module, of Slicer 5.10 to 5.13: it knows whether its module is open."""

    entered = True
    isEntered = Property(bool, lambda self: self.entered)


slicer.qSlicerSegmentEditorEffectFactory = proxyClass(nativeClasses["qSlicerSegmentEditorEffectFactory"])
slicer.qSlicerScriptedLoadableModuleWidget = proxyClass(nativeClasses["qSlicerScriptedLoadableModuleWidget"])
