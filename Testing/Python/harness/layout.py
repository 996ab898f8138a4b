"""Slicer's views: three slice views and two 3D views on the scene's real nodes and slice logics, without drawing.

Their nodes are singletons, which survive the closing of a scene, as in the application.
"""

from typing import Any

import slicer
import vtk

from harness.binding import Property, QtCore, QtWidgets
from harness.pythonqt import standIn
from harness.qmrml_widgets import _OfScene, offer

ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
_THREE_D = ("1", "2")


@standIn
class qMRMLSliceWidget(_OfScene, QtWidgets.QWidget):
    """A slice view with its bar."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()


@standIn
class qMRMLThreeDWidget(_OfScene, QtWidgets.QWidget):
    """A 3D view with its bar."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node

    def mrmlViewNode(self) -> Any:
        return self._node


@standIn
class qSlicerLayoutManager(_OfScene, QtCore.QObject):
    """All views; `slicer.app.layoutManager()`. There is one layout, with all of them in it."""

    def __init__(self, scene: Any, applicationLogic: Any) -> None:
        super().__init__()
        self._scene = scene
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


offer("qMRMLSliceWidget", "qMRMLThreeDWidget", "qSlicerLayoutManager")
