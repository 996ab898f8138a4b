"""What the scene tells: it is closed or loaded, or the segmentation was edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.util import VTKObservationMixin


class SceneObservers(VTKObservationMixin):
    """Passes the scene's events on, until `stop`."""

    def __init__(
        self, onClosing: Callable[[], None], onReplaced: Callable[[], None], onEdited: Callable[[], None]
    ) -> None:
        super().__init__()
        self._onEdited = onEdited
        self._segmentation: Any = None
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda caller, event: onClosing())
        self.addObserver(scene, scene.EndCloseEvent, lambda caller, event: onReplaced())
        self.addObserver(scene, scene.EndImportEvent, lambda caller, event: onReplaced())

    def watchSegmentation(self, nodeId: str) -> None:
        """Tell of edits of this segmentation from now on; "" for none."""
        node = slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None
        segmentation = node.GetSegmentation() if node is not None else None
        if segmentation is self._segmentation:
            return
        for event in self._events(self._segmentation):
            self.removeObserver(self._segmentation, event, self._onModified)
        self._segmentation = segmentation
        for event in self._events(segmentation):
            self.addObserver(segmentation, event, self._onModified)

    def stop(self) -> None:
        """Observe nothing any more."""
        self._segmentation = None
        self.removeObservers()

    def _onModified(self, caller: Any, event: str) -> None:
        self._onEdited()

    def _events(self, segmentation: Any) -> list[int]:
        if segmentation is None:
            return []
        kind = slicer.vtkSegmentation
        return [kind.SourceRepresentationModified, kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified]
