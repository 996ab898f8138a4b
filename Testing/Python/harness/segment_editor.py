"""Slicer's Segment Editor widget, modelled on qMRMLSegmentEditorWidget.cxx, with effects that do nothing.

It does to scene and slice views what the real one does: it chooses the segmentation's reference volume as source, shows
it in the slice views, makes display nodes, selects the first segment, and deactivates the active effect.
"""

from typing import Any

import slicer
import vtk

from harness import problems
from harness.binding import Property, QtCore, QtWidgets, Signal
from harness.pythonqt import standIn
from harness.qmrml_widgets import _OfScene, follow, offer

EFFECTS = (
    *("Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Threshold", "Margin"),
    *("Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume"),
)
WIDTHS = {"Paint": 384, "Erase": 417, "Threshold": 353, "Scissors": 374}  # of their options, in Slicer 5.13
REFERENCE = "referenceImageGeometryRef"
SURFACE, LABELMAP = "Closed surface", "Binary labelmap"


@standIn
class qSlicerSegmentEditorAbstractEffect(QtCore.QObject):
    """One effect of one editor."""

    def __init__(self, name: str, editor: Any) -> None:
        super().__init__(editor)
        self._name, self._editor, self._active = name, editor, False
        self._frame = QtWidgets.QFrame()
        self._frame.hide()
        if name in WIDTHS:
            QtWidgets.QVBoxLayout(self._frame)
            self._frame.layout().setContentsMargins(0, 0, 0, 0)
            line = QtWidgets.QFrame()
            line.setMinimumWidth(WIDTHS[name])
            self._frame.layout().addWidget(line)

    name = Property(str, lambda self: self._name)

    def optionsFrame(self) -> Any:
        return self._frame

    def activate(self) -> None:
        self._active = True
        self._frame.show()

    def deactivate(self) -> None:
        self._active = False
        self._frame.hide()

    def active(self) -> bool:
        return self._active


@standIn
class qMRMLSegmentEditorWidget(_OfScene, QtWidgets.QWidget):
    """Tests read `calls` of the native object."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.calls: list[tuple[Any, ...]] = []
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node: Any = None
        self._segmentation: Any = None
        self._source: Any = None
        self._updating, self._autoShow = False, True
        self._effects = [qSlicerSegmentEditorAbstractEffect(name, self) for name in EFFECTS]
        self._active: Any = None
        self._observed: list[tuple[Any, int]] = []
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(QtWidgets.QLabel("Segment Editor"))
        table = QtWidgets.QFrame()
        table.setObjectName("SegmentsTableResizableFrame")
        layout.addWidget(table)
        for effect in self._effects:
            layout.addWidget(effect._frame)
        grow = QtWidgets.QSizePolicy.Expanding  # as at the end of qMRMLSegmentEditorWidget.ui
        layout.addSpacerItem(QtWidgets.QSpacerItem(20, 40, QtWidgets.QSizePolicy.Minimum, grow))
        self.setMinimumHeight(90)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._logic.SetMRMLScene(scene)
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetVerbose(True)
        follow(self, scene, scene.EndCloseEvent, self._updateFromMRML)
        follow(self, scene, scene.EndBatchProcessEvent, self._updateFromMRML)
        self._updateFromMRML()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is self._node:
            return
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is not None:
            follow(self, node, vtk.vtkCommand.ModifiedEvent, lambda _: self._onModified(node))
            self._updateFromMRML()

    def _onModified(self, node: Any) -> None:
        if node is self._node:
            self._updateFromMRML()

    def _updateFromMRML(self, _: Any = None) -> None:
        scene = self._scene
        if scene is None or scene.IsClosing() or scene.IsBatchProcessing() or self._node is None or self._updating:
            return
        self._updating = True
        try:
            self._updateSegmentation()
            self._updateSource()
            self._updateEffect()
        finally:
            self._updating = False

    def _updateSegmentation(self) -> None:
        node = self._logic.GetSegmentationNode()
        if node is self._segmentation:
            return
        self._segmentation = node
        if node is not None:
            self._logic.SetSourceVolumeNode(node.GetNodeReference(REFERENCE))
            node.CreateDefaultDisplayNodes()
            display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
            if segmentation.ContainsRepresentation(SURFACE):
                display.SetPreferredDisplayRepresentationName3D(SURFACE)
            if segmentation.ContainsRepresentation(LABELMAP):
                display.SetPreferredDisplayRepresentationName2D(LABELMAP)
            if segmentation.GetNumberOfSegments():
                self._node.SetSelectedSegmentID(segmentation.GetNthSegmentID(0))

    def _updateSource(self) -> None:
        node = self._logic.GetSourceVolumeNode()
        if self._logic.GetSegmentationNode() is None or node is self._source:
            return
        self._source = node
        if node is not None and self._autoShow:
            self.showSourceVolumeInSliceViewers()

    def _updateEffect(self) -> None:
        wanted = self.effectByName(self._node.GetActiveEffectName() or "")
        if wanted is self._active:
            return
        if self._active is not None:
            self._active.deactivate()
        self._active = wanted
        if wanted is None:
            self.removeViewObservations()
            return
        self.setupViewObservations()
        wanted.activate()

    def setAutoShowSourceVolumeNode(self, autoShow: bool) -> None:
        self._autoShow = autoShow

    def showSourceVolumeInSliceViewers(self) -> None:
        volumeId = self._node.GetSourceVolumeNode().GetID()
        for logic in slicer.app.layoutManager().mrmlSliceLogics():
            composite = logic.GetSliceCompositeNode()
            if volumeId not in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()):
                composite.SetBackgroundVolumeID(volumeId)
                composite.SetForegroundVolumeID(None)
                composite.SetLabelVolumeID(None)

    def setSegmentationNode(self, node: Any) -> None:
        self.calls.append(("setSegmentationNode", node))
        if self._logic.GetSegmentationNode() is not node:
            self._logic.SetSegmentationNode(node)
            self.setActiveEffect(None)

    def sourceVolumeNode(self) -> Any:
        return self._source

    def setSourceVolumeNode(self, node: Any) -> None:
        self.calls.append(("setSourceVolumeNode", node))
        self._logic.SetSourceVolumeNode(node)

    def currentSegmentID(self) -> str:
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def updateEffectList(self) -> None:
        self.calls.append(("updateEffectList",))

    def effectByName(self, name: str) -> Any:
        return next((effect for effect in self._effects if effect._name == name), None)

    def activeEffect(self) -> Any:
        return self._active

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self.effectByName(name))

    def setActiveEffect(self, effect: Any) -> None:
        self.calls.append(("setActiveEffect", effect))
        if self._node is not None:
            self._node.SetActiveEffectName(effect._name if effect is not None else "")
        elif effect is not None:
            problems.report("setActiveEffect: Invalid segment editor parameter set node")

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(count)

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def setupViewObservations(self) -> None:
        self.calls.append(("setupViewObservations",))
        self._letGo()
        for logic in slicer.app.layoutManager().mrmlSliceLogics():
            node = logic.GetSliceNode()
            self._observed.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: None)))

    def removeViewObservations(self) -> None:
        self.calls.append(("removeViewObservations",))
        self._letGo()

    def _letGo(self) -> None:
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed.clear()

    def setSegmentationNodeSelectorVisible(self, visible: bool) -> None:
        """Do nothing: there is no such selector here."""

    def setSourceVolumeNodeSelectorVisible(self, visible: bool) -> None:
        """Do nothing: there is no such selector here, either."""

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        self.calls.append(("installKeyboardShortcuts",))

    def uninstallKeyboardShortcuts(self) -> None:
        self.calls.append(("uninstallKeyboardShortcuts",))


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


offer("qMRMLSegmentEditorWidget", "qSlicerSegmentEditorEffectFactory")
