"""Scripted modules as Slicer 5.10 to main loads, opens, leaves, reloads and unloads them.

The Python base classes have the signatures and the order of calls of Slicer's ScriptedLoadableModule.py; the C++ ones
those of qSlicerScriptedLoadableModule and its widget. `slicer.util.reloadScriptedModule`, `getModuleWidget` and
`getModuleLogic` are Slicer's own and run on them.
"""

import importlib.util
import sys
import types
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import slicer.util

from harness.binding import Property, QtCore, QtWidgets, Signal
from harness.pythonqt import standIn, wrap

PROPERTIES = ("title", "categories", "dependencies", "contributors", "helpText", "acknowledgementText")
_LISTS = ("categories", "dependencies", "contributors")

beforeSetup: list[Callable[[Any], None]] = []  # a test's own services: called with each new Python widget


class ScriptedLoadableModule:
    """Slicer's base class of that name."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        for name in PROPERTIES:
            setattr(parent, name, [] if name in _LISTS else "")


class ScriptedLoadableModuleWidget:
    """Slicer's base class of that name. Without a parent it makes one and calls `setup` itself, as in Slicer."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent
        if not parent:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        self.setupDeveloperSection()

    def setupDeveloperSection(self) -> None:
        if not self.developerMode:
            return
        import ctk
        import qt

        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton()
        self.reloadCollapsibleButton.text = "Reload && Test"
        self.layout.addWidget(self.reloadCollapsibleButton)
        form = qt.QFormLayout(self.reloadCollapsibleButton)
        self.reloadButton = qt.QPushButton("Reload")
        self.reloadButton.connect("clicked()", self.onReload)
        form.addRow(self.reloadButton)

    def cleanup(self) -> None:
        """Do nothing; derived classes override it."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """Slicer's base class of that name."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Slicer's base class of that name."""


@standIn
class qSlicerModuleManager(QtCore.QObject):
    """Knows the modules that were loaded with `loadModule`."""

    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        return self._modules.get(name)


def _value(name: str, kind: Any) -> Any:
    """A property of that name that simply stores its value."""

    def get(self: Any) -> Any:
        return self._values.get(name, [] if kind == "QStringList" else "")

    def put(self: Any, value: Any) -> None:
        self._values[name] = value

    return Property(kind, get, put)


@standIn
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """The `parent` of a module's Python class, and what `slicer.modules.<name>` is."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._values: dict[str, Any] = {}
        self._path, self._representation = path, None

    title, helpText, acknowledgementText = (_value(name, str) for name in ("title", "helpText", "acknowledgementText"))
    categories, dependencies, contributors = (_value(name, "QStringList") for name in _LISTS)
    name = Property(str, lambda self: self._path.stem)
    path = Property(str, lambda self: str(self._path))

    def widgetRepresentation(self) -> Any:
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(self._path)
            self._representation._instantiate()
            self._representation._call("setup")
            self._representation.setMRMLScene(slicer.mrmlScene)  # after `setup`, as in Slicer
        return self._representation


@standIn
class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The `parent` of a module's Python widget; it stays when the module is reloaded, with all its old children."""

    mrmlSceneChanged = Signal(object)
    overloads = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}  # noqa: RUF012 - read only

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._isEntered, self._instance = path, False, None
        QtWidgets.QVBoxLayout(self)

    moduleName = Property(str, lambda self: self._path.stem)
    isEntered = Property(bool, lambda self: self._isEntered)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def _instantiate(self) -> None:
        className = f"{self._path.stem}Widget"
        self._instance = getattr(sys.modules[self._path.stem], className)(wrap(self))
        setattr(slicer.modules, className, self._instance)
        for prepare in beforeSetup:
            prepare(self._instance)

    def _call(self, name: str) -> None:
        method = getattr(self._instance, name, None)  # a module does not have to define them
        if method is not None:
            method()

    def self(self) -> Any:
        return self._instance

    def reload(self) -> None:
        """A new Python widget and its `setup`; never its `enter`."""
        if self._path.is_file():
            self._instantiate()
            self._call("setup")

    def enter(self) -> None:
        self._isEntered = True
        self._call("enter")

    def exit(self) -> None:
        self._isEntered = False
        self._call("exit")


def start() -> qSlicerModuleManager:
    """Make `slicer.modules`, `slicer.ScriptedLoadableModule` and `slicer.i18n`; return the module manager."""
    slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
    translation: Any = types.ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    translation.translate = lambda context, text: text
    base: Any = types.ModuleType("slicer.ScriptedLoadableModule")
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    for cls in classes:
        setattr(base, cls.__name__, cls)
    base.__all__ = [cls.__name__ for cls in classes]
    for module in (translation, base):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.partition(".")[2], module)
    return qSlicerModuleManager()


def loadModule(path: Path) -> Any:
    """Load a scripted module's file as Slicer does: only the module's own folder is added to `sys.path`."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    described = wrap(qSlicerScriptedLoadableModule(path))
    slicer.app.moduleManager().native._modules[path.stem] = described.native
    setattr(slicer.modules, path.stem.lower(), described)
    setattr(slicer.modules, f"{path.stem}Instance", getattr(module, path.stem)(described))
    return module


def openModule(path: Path, prepare: Callable[[Any], None] | None = None) -> Any:
    """Load a module and make its panel; return the `parent` of its Python widget, which is not entered yet.

    prepare: called with each Python widget before its `setup`, again after a reload.
    """
    if prepare is not None:
        beforeSetup.append(prepare)
    loadModule(path)
    return getattr(slicer.modules, path.stem.lower()).widgetRepresentation()


def closeModule(name: str) -> None:
    """Close a module as Slicer does at its end."""
    beforeSetup.clear()
    slicer.app.moduleManager().native.moduleAboutToBeUnloaded.emit(name)
    if hasattr(slicer.modules, f"{name}Widget"):
        delattr(slicer.modules, f"{name}Widget")
