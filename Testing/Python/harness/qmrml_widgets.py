"""Stand-ins for Slicer's own widgets in the panel, on a real MRML scene."""

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from harness.binding import Property, QtCore, QtGui, QtWidgets, Signal, Slot, isDeleted
from harness.pythonqt import nativeClasses, proxyClass, standIn

Followed = tuple[Any, int]
_following: list[Followed] = []  # (object, observer's tag) of the widgets of all panels


def follow(widget: Any, watched: Any, event: int, call: Callable[..., None], priority: float = 0.0) -> Followed:
    """Observe a VTK object until `unfollow`, or until Qt deletes the widget, as with the real ones.

    `call` gets the event's node where it has one.
    """

    def called(caller: Any, name: str, node: Any = None) -> None:
        if not isDeleted(widget):
            call(node)

    called.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    _following.append((watched, watched.AddObserver(event, called, priority)))
    return _following[-1]


def unfollow(followed: Followed) -> None:
    """Stop observing it and release it."""
    if followed in _following:
        _following.remove(followed)
        followed[0].RemoveObserver(followed[1])


def stopFollowing() -> None:
    """Disconnect all panels so far from the scene; do not delete their widgets, which belong to Qt."""
    for watched, tag in _following:
        watched.RemoveObserver(tag)
    _following.clear()


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


_FLAGS = ("noneEnabled", "addEnabled", "removeEnabled", "renameEnabled", "showChildNodeTypes")


def _flag(name: str) -> Any:
    """Getter and setter of a property that is a plain bool."""

    def get(self: Any) -> bool:
        return bool(self._flags[name])

    def put(self: Any, value: bool) -> None:
        if self._flags[name] != value:
            self._flags[name] = bool(value)
            self._refill()

    return get, put


_ID = 256 + 1  # qMRMLSceneModel's UIDRole


@standIn
class qMRMLSortFilterProxyModel(QtCore.QSortFilterProxyModel):
    """Which nodes a selector offers; only its list of hidden nodes is implemented."""

    _hiddenChanged = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._hidden: list[str] = []

    def _setHiddenNodeIDs(self, nodeIds: list[str]) -> None:
        self._hidden = list(nodeIds)
        self._hiddenChanged.emit()

    hiddenNodeIDs = Property("QStringList", lambda self: self._hidden, _setHiddenNodeIDs)


@standIn
class qMRMLNodeComboBox(_OfScene, QtWidgets.QWidget):
    """Lists the scene's nodes in a real QComboBox, between "None" and the menu's actions, as qMRMLSceneModel does.

    So Qt itself decides what is chosen when nodes come and go, and which signals are sent: after the import or closing
    of a scene all rows are rebuilt and the choice is lost; batch processing changes nothing.
    """

    currentNodeIDChanged = Signal(str)
    _changed = Signal(object)
    overloads = {"currentNodeChanged(vtkMRMLNode*)": "_changed"}  # noqa: RUF012 - read only

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._classes: list[str] = []
        self._flags = {**dict.fromkeys(_FLAGS, True), "noneEnabled": False, "renameEnabled": False}
        self._switching = False
        self._followed: dict[str, Followed] = {}
        self._filter = nativeClasses["qMRMLSortFilterProxyModel"](self)
        self._filter._hiddenChanged.connect(self._refill)
        self._rows = QtGui.QStandardItemModel(self)
        self._box = QtWidgets.QComboBox(self)
        self._box.setModel(self._rows)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self.setFocusProxy(self._box)
        self._box.currentTextChanged.connect(self._onRow)
        self.setEnabled(False)

    def setMRMLScene(self, scene: Any) -> None:
        if scene is None or scene is self._scene:
            return
        super().setMRMLScene(scene)
        follow(self, scene, scene.NodeAddedEvent, self._onAdded, 10.0)
        follow(self, scene, scene.NodeAboutToBeRemovedEvent, self._onRemoved, -10.0)
        follow(self, scene, scene.EndCloseEvent, self._update)
        follow(self, scene, scene.EndImportEvent, self._update)
        self._switching = True
        self._update()
        self._switching = False
        self._choose(self._idOf(0))
        self.setEnabled(True)

    def _accepts(self, node: Any) -> bool:
        if node.GetHideFromEditors() or node.GetID() in self._filter.hiddenNodeIDs:
            return False
        if self._flags["showChildNodeTypes"]:
            return any(node.IsA(name) for name in self._classes)
        return node.GetClassName() in self._classes

    def _accepted(self) -> list[Any]:
        return [node for node in self._scene.GetNodes() if self._accepts(node)]

    def _insert(self, row: int, node: Any) -> None:
        item = QtGui.QStandardItem(node.GetName())
        item.setData(node.GetID(), _ID)
        self._rows.insertRow(row, item)
        self._letGo(node)
        modified = vtk.vtkCommand.ModifiedEvent
        self._followed[node.GetID()] = follow(self, node, modified, lambda _: self._onModified(node))

    def _letGo(self, node: Any) -> None:
        followed = self._followed.pop(node.GetID(), None)
        if followed is not None:
            unfollow(followed)

    def _onAdded(self, node: Any) -> None:
        if self._scene.IsImporting() or not self._accepts(node):
            return
        self._insert(self._flags["noneEnabled"] + self._accepted().index(node), node)

    def _onRemoved(self, node: Any) -> None:
        self._letGo(node)
        row = self._rowOf(node.GetID())
        if not self._scene.IsClosing() and row >= 0:
            self._rows.removeRow(row)
            self._chooseNoneIfGone()

    def _onModified(self, node: Any) -> None:
        row = self._rowOf(node.GetID() or "")
        if row < 0 or self._scene.IsClosing() or self._scene.IsImporting():
            return
        if self._accepts(node):
            self._rows.item(row).setText(node.GetName())
        else:
            self._rows.removeRow(row)
            self._chooseNoneIfGone()

    def _update(self, _: Any = None) -> None:
        """Rebuild all rows of nodes."""
        none, extras = self._flags["noneEnabled"], self._actions()
        count = self._rows.rowCount()
        if not count:
            for text in ["None"] * none + extras:
                self._rows.appendRow(QtGui.QStandardItem(text))
        elif count > none + len(extras):
            self._rows.removeRows(int(none), count - none - len(extras))
            self._chooseNoneIfGone()
        for row, node in enumerate(self._accepted(), start=none):
            self._insert(row, node)

    def _actions(self) -> list[str]:
        words = {"rename": "Rename", "add": "Create new", "remove": "Delete"}
        actions = [word for name, word in words.items() if self._flags[f"{name}Enabled"]]
        return ["separator", *actions] if actions else []

    def _refill(self) -> None:
        """After a property changed: keep the choice if it is still there."""
        if self._scene is None:
            return
        chosen = self.currentNodeID
        self._switching = True
        self._rows.clear()
        self._update()
        self._switching = False
        self._choose(chosen)

    def _idOf(self, row: int) -> str:
        item = self._rows.item(row) if row >= 0 else None
        return str((item.data(_ID) if item is not None else "") or "")

    def _rowOf(self, nodeId: str) -> int:
        return next((row for row in range(self._rows.rowCount()) if nodeId and self._idOf(row) == nodeId), -1)

    def _choose(self, nodeId: str) -> None:
        row = self._rowOf(nodeId)
        self._box.setCurrentIndex(row if row >= 0 else 0 if self._flags["noneEnabled"] else -1)

    def _chooseNoneIfGone(self) -> None:
        if self.currentNode() is None:
            self._choose("")

    def _onRow(self, text: str) -> None:
        """Qt selected another row. If it is one of the menu's actions, select the last node."""
        if self._switching:
            return
        node, row = self.currentNode(), self._box.currentIndex()
        if node is None and row != (0 if self._flags["noneEnabled"] else -1):
            last = self._flags["noneEnabled"] + self.nodeCount() - 1
            if self._idOf(last):
                self._choose(self._idOf(last))
            return
        self._changed.emit(node)
        self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def currentNode(self) -> Any:
        nodeId = self._idOf(self._box.currentIndex())
        return self._scene.GetNodeByID(nodeId) if nodeId and self._scene is not None else None

    def sortFilterProxyModel(self) -> Any:
        return self._filter

    def nodeCount(self) -> int:
        return sum(bool(self._idOf(row)) for row in range(self._rows.rowCount()))

    def nodeFromIndex(self, index: int) -> Any:
        nodeId = self._idOf(index + self._flags["noneEnabled"])
        return self._scene.GetNodeByID(nodeId) if nodeId else None

    def setCurrentNode(self, node: Any) -> None:
        self._choose(node.GetID() if node is not None else "")

    def _currentNodeID(self) -> str:
        node = self.currentNode()
        return str(node.GetID()) if node is not None else ""

    @Slot(str)
    def setCurrentNodeID(self, nodeId: str) -> None:
        self._choose(nodeId)

    currentNodeID = Property(str, _currentNodeID, setCurrentNodeID)

    # The setters below are plain C++ methods: they exist for .ui files, not for Python.
    def setNodeTypes(self, names: list[str]) -> None:
        self._classes = [each for each in names if each]
        self._refill()

    nodeTypes = Property("QStringList", lambda self: self._classes, setNodeTypes)
    noneEnabled, addEnabled, removeEnabled, renameEnabled, showChildNodeTypes = (
        Property(bool, *_flag(name)) for name in _FLAGS
    )
    setNoneEnabled, setAddEnabled, setRemoveEnabled, setRenameEnabled, setShowChildNodeTypes = (
        _flag(name)[1] for name in _FLAGS
    )


def offer(*names: str) -> None:
    """Make the stand-ins classes of the module `slicer`."""
    for name in names:
        setattr(slicer, name, proxyClass(nativeClasses[name]))


offer("qMRMLWidget", "qMRMLNodeComboBox")
