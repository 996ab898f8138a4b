"""Events of the scene: it is closed or loaded, a node is removed, the segmentation or its display has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

Call = Callable[[], None]
_LAST = -100.0  # priority: after Slicer's selectors, which refill their lists at the same events


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
        """Call onRemoving(node id) before a node is removed and the selectors know, and onRemoved() afterwards.

        Slicer's selectors choose another node before the chosen one is removed. onMoved: see `watch`.
        """
        self._onRemoving, self._onMoved = onRemoving, onMoved
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeLeaves)
        self.addObserver(scene, scene.NodeRemovedEvent, lambda caller, event: onRemoved(), priority=_LAST)

    def watch(self, volumeId: str, segmentationId: str) -> None:
        """Observe these nodes from now on; "" for none.

        Observed are edits of the segmentation, segments shown or hidden, and moves of the volume: when its position in
        the world changes, or its transform is hardened.
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
        """Stop observing."""
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
    """The events of a segmentation's changes; its node passes on those of the display node, as of shown segments.

    Under another transform, what is painted lies on other slices of the volume.
    """
    if node is None or node.GetSegmentation() is None:
        return []
    kind = slicer.vtkSegmentation
    edits = (kind.SourceRepresentationModified, kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified)
    ofNode = (node.DisplayModifiedEvent, node.TransformModifiedEvent)
    return [*((node.GetSegmentation(), event) for event in edits), *((node, event) for event in ofNode)]
