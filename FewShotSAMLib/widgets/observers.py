"""What the scene tells: it is closed or loaded, a node leaves it, the segmentation was edited or shown otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

Call = Callable[[], None]
_LAST = -100.0  # priority: after Slicer's selectors, which fill their lists again at the same events


class SceneObservers(VTKObservationMixin):
    """Passes the scene's events on, until `stop`."""

    def __init__(self, onClosing: Call, onImporting: Call, onReplaced: Call, onEdited: Call) -> None:
        super().__init__()
        self._onEdited = onEdited
        self._onRemoving: Callable[[str], None] | None = None
        self._onMoved: Call | None = None
        self._watched: list[tuple[Any, int, Callable[..., None]]] = []
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda caller, event: onClosing())
        self.addObserver(scene, scene.StartImportEvent, lambda caller, event: onImporting())
        self.addObserver(scene, scene.EndCloseEvent, lambda caller, event: onReplaced(), priority=_LAST)
        self.addObserver(scene, scene.EndImportEvent, lambda caller, event: onReplaced(), priority=_LAST)

    def watchNodes(self, onRemoving: Callable[[str], None], onRemoved: Call, onMoved: Call) -> None:
        """Tell of the id of each node before it leaves the scene and before the selectors know, and once it has left.

        Slicer's selectors choose another node before the chosen one is gone. onMoved: see `watch`.
        """
        self._onRemoving, self._onMoved = onRemoving, onMoved
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeLeaves)
        self.addObserver(scene, scene.NodeRemovedEvent, lambda caller, event: onRemoved(), priority=_LAST)

    def watch(self, volumeId: str, segmentationId: str) -> None:
        """Tell of these nodes from now on; "" for none.

        Of edits of the segmentation, and of segments shown or hidden; when the volume comes to lie elsewhere in the
        world, or its transform is hardened.
        """
        volume, node = (slicer.mrmlScene.GetNodeByID(each) if each else None for each in (volumeId, segmentationId))
        watched = [(thing, event, self._onModified) for thing, event in _eventsOf(node)]
        if volume is not None:
            watched.append((volume, volume.TransformModifiedEvent, self._onTransformed))
        if watched == self._watched:
            return
        for each in self._watched:
            self.removeObserver(*each)
        for each in watched:
            self.addObserver(*each)
        self._watched = watched

    def stop(self) -> None:
        """Observe nothing any more."""
        self._watched = []
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
