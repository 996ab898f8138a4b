"""What the scene tells: it is closed or loaded, a node leaves it, the segmentation was edited or shown otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

_LAST = -100.0  # priority: after Slicer's selectors, which fill their lists again at the same events


class SceneObservers(VTKObservationMixin):
    """Passes the scene's events on, until `stop`."""

    def __init__(
        self,
        onClosing: Callable[[], None],
        onImporting: Callable[[], None],
        onReplaced: Callable[[], None],
        onEdited: Callable[[], None],
    ) -> None:
        super().__init__()
        self._onEdited = onEdited
        self._onRemoving: Callable[[str], None] | None = None
        self._onMoved: Callable[[], None] | None = None
        self._watched: list[tuple[Any, int]] = []
        self._volume: Any = None
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda caller, event: onClosing())
        self.addObserver(scene, scene.StartImportEvent, lambda caller, event: onImporting())
        self.addObserver(scene, scene.EndCloseEvent, lambda caller, event: onReplaced(), priority=_LAST)
        self.addObserver(scene, scene.EndImportEvent, lambda caller, event: onReplaced(), priority=_LAST)

    def watchRemovals(self, onRemoving: Callable[[str], None], onRemoved: Callable[[], None]) -> None:
        """Tell of the id of each node before it leaves the scene and before the selectors know, and once it has left.

        Slicer's selectors choose another node before the chosen one is gone.
        """
        self._onRemoving = onRemoving
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeLeaves)
        self.addObserver(scene, scene.NodeRemovedEvent, lambda caller, event: onRemoved(), priority=_LAST)

    def watchSegmentation(self, nodeId: str) -> None:
        """Tell of edits of this segmentation from now on, and of segments shown or hidden; "" for none."""
        node = slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None
        watched = _eventsOf(node)
        if watched == self._watched:
            return
        for thing, event in self._watched:
            self.removeObserver(thing, event, self._onModified)
        self._watched = watched
        for thing, event in watched:
            self.addObserver(thing, event, self._onModified)

    def watchVolume(self, nodeId: str, onMoved: Callable[[], None]) -> None:
        """Tell when this volume comes to lie elsewhere in the world, or its transform is hardened; "" for none."""
        self._onMoved = onMoved
        node = slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None
        if node is self._volume:
            return
        for watched, change in ((self._volume, self.removeObserver), (node, self.addObserver)):
            if watched is not None:
                change(watched, watched.TransformModifiedEvent, self._onTransformed)
        self._volume = node

    def stop(self) -> None:
        """Observe nothing any more."""
        self._watched, self._volume = [], None
        self.removeObservers()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeLeaves(self, caller: Any, event: str, node: Any) -> None:
        if self._onRemoving is not None:
            self._onRemoving(node.GetID())

    def _onTransformed(self, caller: Any, event: str) -> None:
        if self._onMoved is not None:
            self._onMoved()

    def _onModified(self, caller: Any, event: str) -> None:
        self._onEdited()


def _eventsOf(node: Any) -> list[tuple[Any, int]]:
    """What changes a segmentation; whether a segment is shown is the display node's matter, of which the node tells.

    Under another transform what is painted lies on other slices of the volume.
    """
    if node is None or node.GetSegmentation() is None:
        return []
    kind = slicer.vtkSegmentation
    edits = (kind.SourceRepresentationModified, kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified)
    ofNode = (node.DisplayModifiedEvent, node.TransformModifiedEvent)
    return [*((node.GetSegmentation(), event) for event in edits), *((node, event) for event in ofNode)]
