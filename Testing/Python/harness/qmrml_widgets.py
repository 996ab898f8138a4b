"""Stand-ins of Slicer's own widgets in the panel, on a real MRML scene."""

from typing import Any

import slicer

from harness.binding import Property, QtCore, QtWidgets, Signal, Slot
from harness.pythonqt import nativeClasses, proxyClass, standIn

_following: list[tuple[Any, int]] = []  # (scene, observer's tag) of the selectors of all panels


class _OfScene:
    """What all qMRML widgets have."""

    _scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene

    def mrmlScene(self) -> Any:
        return self._scene


@standIn
class qMRMLWidget(_OfScene, QtWidgets.QWidget):
    """A plain widget that knows the scene."""


def _flag(name: str) -> Any:
    """Getter and setter of a property that is a plain bool."""

    def get(self: Any) -> bool:
        return bool(self._flags[name])

    def put(self: Any, value: bool) -> None:
        self._flags[name] = bool(value)
        self._fill()

    return get, put


@standIn
class qMRMLSortFilterProxyModel(QtCore.QObject):
    """Which nodes a selector offers; `hiddenNodeIDs` is a property, and its setter no slot."""

    invalidated = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._hidden: list[str] = []

    def _get(self) -> list[str]:
        return self._hidden

    def _set(self, nodeIds: list[str]) -> None:
        self._hidden = list(nodeIds)
        self.invalidated.emit()

    hiddenNodeIDs = Property("QStringList", _get, _set)


@standIn
class qMRMLNodeComboBox(_OfScene, QtWidgets.QComboBox):
    """Lists the nodes of some classes and follows the scene; chooses the first node where it may not be empty."""

    currentNodeIDChanged = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types: list[str] = []
        self._flags = {"noneEnabled": False, "addEnabled": True, "removeEnabled": True, "renameEnabled": False}
        self._flags["showChildNodeTypes"] = True
        self._model = nativeClasses["qMRMLSortFilterProxyModel"]()
        self._model.invalidated.connect(self._fill)
        self._id = ""
        self.activated.connect(self._onActivated)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        for event in (
            scene.NodeAddedEvent,
            scene.NodeRemovedEvent,
            scene.EndCloseEvent,
            scene.EndImportEvent,
            scene.EndBatchProcessEvent,
        ):
            _following.append((scene, scene.AddObserver(event, lambda *_: self._fill())))
        self._fill()

    def _fill(self) -> None:
        if self._scene is None or self._scene.IsBatchProcessing():
            return
        nodes = [node for name in self._types for node in self._nodesOf(name) if not node.GetHideFromEditors()]
        nodes = [node for node in nodes if node.GetID() not in self._model.hiddenNodeIDs]
        self.clear()
        if self._flags["noneEnabled"]:
            self.addItem("None", "")
        for node in nodes:
            self.addItem(node.GetName(), node.GetID())
        ids = [node.GetID() for node in nodes]
        fallback = "" if self._flags["noneEnabled"] or not ids else ids[0]
        self._choose(self._id if self._id in ids else fallback)

    def _nodesOf(self, className: str) -> list[Any]:
        found = self._scene.GetNodesByClass(className)
        found.UnRegister(None)
        nodes = [found.GetItemAsObject(i) for i in range(found.GetNumberOfItems())]
        return [node for node in nodes if self._flags["showChildNodeTypes"] or node.GetClassName() == className]

    def sortFilterProxyModel(self) -> Any:
        return self._model

    def _choose(self, nodeId: str) -> None:
        self.setCurrentIndex(self.findData(nodeId))
        if nodeId != self._id:
            self._id = nodeId
            self.currentNodeIDChanged.emit(nodeId)

    def _onActivated(self, index: int) -> None:
        self._choose(self.itemData(index) or "")

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._id) if self._id else None

    @Slot(str)
    def setCurrentNodeID(self, nodeId: str) -> None:
        self._choose(nodeId if nodeId and self._scene.GetNodeByID(nodeId) else "")

    currentNodeID = Property(str, lambda self: self._id, setCurrentNodeID)

    def _types_(self) -> list[str]:
        return self._types

    def setNodeTypes(self, types: list[str]) -> None:
        self._types = list(types)
        self._fill()

    nodeTypes = Property("QStringList", _types_, setNodeTypes)

    noneEnabled = Property(bool, *_flag("noneEnabled"))
    addEnabled = Property(bool, *_flag("addEnabled"))
    removeEnabled = Property(bool, *_flag("removeEnabled"))
    renameEnabled = Property(bool, *_flag("renameEnabled"))
    showChildNodeTypes = Property(bool, *_flag("showChildNodeTypes"))
    setShowChildNodeTypes = _flag("showChildNodeTypes")[1]
    setNoneEnabled = _flag("noneEnabled")[1]
    setAddEnabled = _flag("addEnabled")[1]
    setRemoveEnabled = _flag("removeEnabled")[1]
    setRenameEnabled = _flag("renameEnabled")[1]


@standIn
class qMRMLSegmentEditorWidget(_OfScene, QtWidgets.QFrame):
    """No effects, but the real logic's history; tests read `calls` of the native object."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.calls: list[tuple[Any, ...]] = []
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node: Any = None
        self._autoShow = True
        self.setFrameShape(QtWidgets.QFrame.StyledPanel)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(QtWidgets.QLabel("Segment Editor"))
        layout.addSpacerItem(
            QtWidgets.QSpacerItem(20, 40, QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Expanding)
        )
        self.setMinimumHeight(90)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._logic.SetMRMLScene(scene)

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._node = node
        self._logic.SetSegmentEditorNode(node)

    def setSegmentationNode(self, node: Any) -> None:
        """As in Slicer it empties the views' label layer, and takes the volume that the segmentation was made on."""
        self.calls.append(("setSegmentationNode", node))
        if self._node is not None:
            isOther = node is not None and self._node.GetSegmentationNode() is not node
            self._node.SetAndObserveSegmentationNode(node)
            if isOther:
                for view in self._views():
                    view.SetLabelVolumeID(None)
                self._takeSource(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()))

    def setSourceVolumeNode(self, node: Any) -> None:
        self.calls.append(("setSourceVolumeNode", node))
        if self._node is not None and (node is None or self._node.GetSegmentationNode() is not None):
            self._takeSource(node)

    def _takeSource(self, node: Any) -> None:
        isOther = self._node.GetSourceVolumeNode() is not node
        self._node.SetAndObserveSourceVolumeNode(node)
        if isOther and self._autoShow:
            self.showSourceVolumeInSliceViewers()

    @Slot(bool)
    def setAutoShowSourceVolumeNode(self, autoShow: bool) -> None:
        self._autoShow = autoShow

    @Slot()
    def showSourceVolumeInSliceViewers(self) -> None:
        volume = self._node.GetSourceVolumeNode() if self._node is not None else None
        for view in self._views() if volume is not None else []:
            if volume.GetID() not in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()):
                view.SetBackgroundVolumeID(volume.GetID())
                view.SetForegroundVolumeID(None)
                view.SetLabelVolumeID(None)

    def _views(self) -> list[Any]:
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
        return [self._scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode") for number in range(count)]

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(count)

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def setSegmentationNodeSelectorVisible(self, visible: bool) -> None:
        self.calls.append(("setSegmentationNodeSelectorVisible", visible))

    def setSourceVolumeNodeSelectorVisible(self, visible: bool) -> None:
        self.calls.append(("setSourceVolumeNodeSelectorVisible", visible))

    def setActiveEffect(self, effect: Any) -> None:
        self.calls.append(("setActiveEffect", effect))

    def setActiveEffectByName(self, name: str) -> None:
        self.calls.append(("setActiveEffectByName", name))

    def updateEffectList(self) -> None:
        self.calls.append(("updateEffectList",))

    def setupViewObservations(self) -> None:
        self.calls.append(("setupViewObservations",))

    def removeViewObservations(self) -> None:
        self.calls.append(("removeViewObservations",))

    def installKeyboardShortcuts(self) -> None:
        self.calls.append(("installKeyboardShortcuts",))

    def uninstallKeyboardShortcuts(self) -> None:
        self.calls.append(("uninstallKeyboardShortcuts",))


def stopFollowing() -> None:
    """The panels so far no longer follow the scene; their widgets are left alone, as deleting them is not ours."""
    for scene, tag in _following:
        scene.RemoveObserver(tag)
    _following.clear()


for _name in ("qMRMLWidget", "qMRMLNodeComboBox", "qMRMLSegmentEditorWidget"):
    setattr(slicer, _name, proxyClass(nativeClasses[_name]))
