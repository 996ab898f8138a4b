"""The scene of the browser app: one volume, and one segmentation that everything goes into."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.create import addSegments
from FewShotSAMLib.mrml.nodes import volumeNode
from FewShotSAMLib.web.painting import Painter


class WebScene(MRMLScene):
    """Adds finished segmentations to the one that is painted on, for a second one would neither be seen nor saved.

    on_added: called afterwards with the number of segments.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, painter: Painter, on_added: Callable[[int], None]) -> None:
        super().__init__(scene, painter)
        self._nodes_of, self._painter, self._on_added = scene, painter, on_added

    def add_segmentation(self, volume_id: str, segmentation: Segmentation, name: str) -> str:
        """Add the segments to those that are there, as one step of Undo; returns the id of the segmentation shown."""
        shown = self._painter.mrmlSegmentEditorNode().GetSegmentationNode()
        if shown is None:
            return super().add_segmentation(volume_id, segmentation, name)
        self._painter.saveStateForUndo()
        addSegments(shown, volumeNode(self._nodes_of, volume_id), segmentation)
        self._on_added(len(segmentation.segments))
        return str(shown.GetID())
