"""The Slicer application around the module: `qt`, `ctk`, `slicer.app`, scripted modules; the MRML is the real one."""

import importlib.util
import inspect
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer
import slicer.util
import vtk

from harness import problems, pythonqt
from harness.binding import Property, QtCore, QtWidgets, Signal


class Application(QtWidgets.QApplication):
    """Slicer's application as far as the module knows it."""

    startupCompleted = Signal()
    # As qSlicerCoreApplication.h declares them.
    slicerHome = Property(str, lambda self: str(_folder / "Slicer"))
    temporaryPath = Property(str, lambda self: str(_folder / "temporary"))


_application: Any = None
_folder = Path()
_kept: list[Any] = []


def start(settingsFolder: Path) -> None:
    """Bring up the application once; Qt's settings go into `settingsFolder`."""
    global _application, _folder
    if _application is not None:
        return
    _folder = settingsFolder
    problems.watch()
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(settingsFolder))
    _application = QtWidgets.QApplication.instance() or Application(["Slicer", "-style", "Fusion"])
    _application.setOrganizationName("NA-MIC")
    _application.setApplicationName("Slicer")
    sys.modules["qt"] = pythonqt.QtModule("qt")
    sys.modules["ctk"] = pythonqt.CustomModule("ctk")
    from harness import ctk_widgets, qmrml_widgets  # noqa: F401 - they register themselves

    slicer.app = pythonqt.proxyClass(Application).around(_application)
    _makeScene()
    slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
    _addScriptedModules()


def _makeScene() -> None:
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    logic = slicer.vtkSlicerSegmentationsModuleLogic()  # registers its nodes
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    _kept.extend((application, logic))
    scene.AddObserver(scene.NodeAddedEvent, _listInSubjectHierarchy)


def _listInSubjectHierarchy(scene: Any, event: str, node: Any) -> None:
    """In the application a Qt plugin does it; the Segment Editor's logic looks volume and segmentation up there."""
    if isinstance(node, slicer.vtkMRMLDisplayableNode) and not scene.IsBatchProcessing():
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        if not node.GetHideFromEditors() and not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


_listInSubjectHierarchy.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]


def _addScriptedModules() -> None:
    translation: Any = types.ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    translation.translate = lambda context, text: text
    scripted: Any = types.ModuleType("slicer.ScriptedLoadableModule")
    names = ("ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleTest")
    for cls in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleTest):
        setattr(scripted, cls.__name__, cls)
    scripted.__all__ = list(names)
    for module in (translation, scripted):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.partition(".")[2], module)


class ScriptedLoadableModule:
    """Slicer's base class of that name."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.contributors = []
        parent.dependencies = []

    def resourcePath(self, name: str) -> str:
        return _resourcePath(self, name)

    def getDefaultModuleDocumentationLink(self) -> str:
        return ""


class ScriptedLoadableModuleWidget:
    """Slicer's base class of that name."""

    developerMode = False

    def __init__(self, parent: Any = None) -> None:
        import qt

        if parent is None:
            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def resourcePath(self, name: str) -> str:
        return _resourcePath(self, name)

    def setup(self) -> None:
        """Nothing here but the developer's buttons, in Slicer."""

    def cleanup(self) -> None:
        """Nothing."""

    def onReload(self) -> None:
        self.reloaded = True


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Slicer's base class of that name."""


def _resourcePath(thing: Any, name: str) -> str:
    return str(Path(inspect.getfile(type(thing))).parent / "Resources" / name)


def loadModule(path: Path) -> Any:
    """What Slicer does with a scripted module's file: the module's own folder, and no other, comes on `sys.path`."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def processEvents() -> None:
    """Let Qt deliver what is pending, also what was to be deleted."""
    for _ in range(3):
        _application.processEvents()
    _application.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
