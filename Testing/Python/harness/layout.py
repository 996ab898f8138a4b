"""Slicer's views: three slice views and two 3D views on the scene's real nodes and slice logics, drawing nothing.

Their nodes are singletons, which outlive the closing of a scene as in the application.
"""

from typing import Any

import slicer
import vtk

from harness.binding import Property, QtCore, QtWidgets, Signal
from harness.pythonqt import standIn
from harness.qmrml_widgets import _OfScene, offer

ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
_THREE_D = ("1", "2")


class _View(QtWidgets.QWidget):
    """What all views have; tests read `calls` of the native object."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node
        self.calls: list[tuple[Any, ...]] = []

    def scheduleRender(self) -> None:
        self.calls.append(("scheduleRender",))

    def forceRender(self) -> None:
        self.calls.append(("forceRender",))


@standIn
class qMRMLSliceView(_View):
    """A slice view without the controls above it."""

    def mrmlSliceNode(self) -> Any:
        return self._node


@standIn
class qMRMLThreeDView(_View):
    """A 3D view without the controls above it."""

    def mrmlViewNode(self) -> Any:
        return self._node

    def resetFocalPoint(self) -> None:
        self.calls.append(("resetFocalPoint",))

    def resetCamera(self, *values: Any) -> None:
        self.calls.append(("resetCamera", *values))

    def rotateToViewAxis(self, axis: Any) -> None:
        self.calls.append(("rotateToViewAxis", axis))


@standIn
class qMRMLSliceControllerWidget(_OfScene, QtWidgets.QWidget):
    """The bar above a slice view."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceLogic(self) -> Any:
        return self._logic

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._logic.SetSliceOffset(offset)

    def rotateSliceToLowestVolumeAxes(self) -> None:
        self._logic.RotateSliceToLowestVolumeAxes()


@standIn
class qMRMLSliceWidget(_OfScene, QtWidgets.QWidget):
    """A slice view with its bar."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic
        self._view, self._bar = qMRMLSliceView(logic.GetSliceNode()), qMRMLSliceControllerWidget(logic)

    sliceViewName = Property(str, lambda self: self._logic.GetSliceNode().GetLayoutName())

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> Any:
        return self._view

    def sliceController(self) -> Any:
        return self._bar

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


@standIn
class qMRMLThreeDWidget(_OfScene, QtWidgets.QWidget):
    """A 3D view with its bar."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node, self._view = node, qMRMLThreeDView(node)

    def mrmlViewNode(self) -> Any:
        return self._node

    def threeDView(self) -> Any:
        return self._view


@standIn
class qSlicerLayoutManager(_OfScene, QtCore.QObject):
    """All views; `slicer.app.layoutManager()`. The layout is a number only: all views are in each."""

    _changed = Signal(int)
    overloads = {"layoutChanged(int)": "_changed"}  # noqa: RUF012 - read only

    def __init__(self, scene: Any, applicationLogic: Any) -> None:
        super().__init__()
        self._scene, self._layout = scene, slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        self._logics = vtk.vtkCollection()
        applicationLogic.SetSliceLogics(self._logics)
        self._slices = {name: self._sliceWidget(name, applicationLogic) for name in ORIENTATIONS}
        self._threeD = [self._threeDWidget(name) for name in _THREE_D]
        self._arrange()
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self._arrange())

    def _sliceWidget(self, name: str, applicationLogic: Any) -> Any:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(applicationLogic)
        logic.SetMRMLScene(self._scene)
        logic.AddSliceNode(name)
        self._logics.AddItem(logic)
        return qMRMLSliceWidget(logic)

    def _threeDWidget(self, name: str) -> Any:
        node = self._scene.CreateNodeByClass("vtkMRMLViewNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        node.SetName(f"View{name}")
        return qMRMLThreeDWidget(self._scene.AddNode(node))

    def _arrange(self) -> None:
        for name, widget in self._slices.items():
            node = widget.mrmlSliceNode()
            node.SetOrientation(ORIENTATIONS[name])
            node.SetSliceOffset(0.0)
            node.SetMappedInLayout(1)
        for widget in self._threeD:
            widget.mrmlViewNode().SetMappedInLayout(1)

    def sliceViewNames(self) -> list[str]:
        return list(self._slices)

    def sliceWidget(self, name: str) -> Any:
        return self._slices.get(name)

    threeDViewCount = Property(int, lambda self: len(self._threeD))

    def threeDWidget(self, number: int) -> Any:
        return self._threeD[number] if 0 <= number < len(self._threeD) else None

    def mrmlSliceLogics(self) -> Any:
        return self._logics

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        for widget in self._threeD:
            widget.threeDView().resetFocalPoint()

    def _getLayout(self) -> int:
        return int(self._layout)

    def setLayout(self, layout: int) -> None:
        self._layout = layout
        self._changed.emit(layout)

    layout = Property(int, _getLayout, setLayout)


offer("qMRMLSliceWidget", "qMRMLThreeDWidget", "qSlicerLayoutManager")
