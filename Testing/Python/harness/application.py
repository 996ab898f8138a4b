"""The Slicer application around the module: `qt`, `ctk`, `slicer.app`, scripted modules; the MRML is the real one."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import slicer.util

from harness import problems, pythonqt
from harness.binding import Property, QtCore, QtWidgets, Signal

values: dict[str, Any] = {
    "slicerHome": "",
    "temporaryPath": "",
    "slicerUserSettingsFilePath": "",
    "testingEnabled": False,
}
parts: dict[str, Any] = {}  # objects that live as long as the application


def _ofValues(name: str) -> Any:
    return Property(str, lambda self: values[name])


@pythonqt.standIn
class qSlicerApplication(QtWidgets.QApplication):
    """Slicer's application; a test sets its `values`."""

    startupCompleted = Signal()

    slicerHome = _ofValues("slicerHome")
    slicerUserSettingsFilePath = _ofValues("slicerUserSettingsFilePath")
    temporaryPath = _ofValues("temporaryPath")

    def testingEnabled(self) -> bool:
        return bool(values["testingEnabled"])

    def layoutManager(self) -> Any:
        return parts["layout"]

    def moduleManager(self) -> Any:
        return parts["modules"]

    def errorLogModel(self) -> Any:
        return parts["errorLog"]

    def applicationLogic(self) -> Any:
        return parts["logic"]

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene


def start(settingsFolder: Path) -> None:
    """Start the application once; Qt's settings go into `settingsFolder`."""
    if parts:
        return
    problems.watch()
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(settingsFolder))
    parts["app"] = qSlicerApplication(["Slicer", "-style", "Fusion"])
    parts["app"].setOrganizationName("NA-MIC")
    parts["app"].setApplicationName("Slicer")
    values["slicerHome"] = str(settingsFolder / "Slicer")
    values["temporaryPath"] = str(settingsFolder / "Temporary")
    values["slicerUserSettingsFilePath"] = str(settingsFolder / "NA-MIC" / "Slicer.ini")
    (settingsFolder / "Temporary").mkdir()
    sys.modules["qt"] = pythonqt.QtModule("qt")
    sys.modules["ctk"] = pythonqt.CustomModule("ctk")
    from harness import ctk_widgets, error_log, layout, scripted, segment_editor, subject_hierarchy  # noqa: F401

    slicer.app = pythonqt.wrap(parts["app"])
    parts["errorLog"] = error_log.start()
    _makeScene()
    parts["plugins"] = subject_hierarchy.Plugins(slicer.mrmlScene)
    parts["layout"] = layout.qSlicerLayoutManager(slicer.mrmlScene, parts["logic"])
    parts["modules"] = scripted.start()
    for name in ("qSlicerScriptedLoadableModule", "qSlicerScriptedLoadableModuleWidget"):
        setattr(slicer, name, pythonqt.proxyClass(pythonqt.nativeClasses[name]))


def _makeScene() -> None:
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    parts["logic"] = slicer.vtkSlicerApplicationLogic()
    parts["logic"].SetMRMLScene(scene)
    parts["segmentations"] = slicer.vtkSlicerSegmentationsModuleLogic()  # registers its nodes
    parts["segmentations"].SetMRMLApplicationLogic(parts["logic"])
    parts["segmentations"].SetMRMLScene(scene)


def processEvents() -> None:
    """Let Qt deliver pending events, including deferred deletions."""
    for _ in range(3):
        parts["app"].processEvents()
    parts["app"].sendPostedEvents(None, QtCore.QEvent.DeferredDelete)


def until(condition: Callable[[], Any]) -> None:
    """Run Qt's event loop until a condition holds."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        processEvents()
        time.sleep(0.001)
