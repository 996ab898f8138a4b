"""The scene of the browser app: one volume, and one segmentation that receives everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import slicer

from FewShotSAMLib.core.segmentation import Segmentation, place_on
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.create import addSegments
from FewShotSAMLib.mrml.nodes import volumeNode
from FewShotSAMLib.mrml.segments import segmentIds
from FewShotSAMLib.mrml.volumes import volumeGeometry
from FewShotSAMLib.web.painting import Painter
from FewShotSAMLib.web.segments import free_color
from FewShotSAMLib.workflow.scene import Target

NameAndColor = tuple[str, tuple[float, float, float]]
"""Name and colour of a segment."""


class WebScene(MRMLScene):
    """Adds finished segmentations to the one being painted: a second one would be neither shown nor saved.

    on_added: called afterwards.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, painter: Painter, on_added: Callable[[], None]) -> None:
        super().__init__(scene, painter)
        self._painter, self._on_added = painter, on_added

    def add_segmentation(self, volume_id: str, segmentation: Segmentation, name: str) -> str:
        """Add the segments to the existing ones, as one step of Undo; returns the id of the segmentation shown."""
        shown = self._painter.mrmlSegmentEditorNode().GetSegmentationNode()
        if shown is None:
            return super().add_segmentation(volume_id, segmentation, name)
        self._painter.saveStateForUndo()
        addSegments(shown, volumeNode(self._scene, volume_id), with_unique_names(segmentation, _used(shown)))
        self._on_added()
        return str(shown.GetID())

    def restore_segmentation(self, target: Target, segmentation: Segmentation, name: str) -> str:
        """Restore painted segments into the segmentation shown, in place of its empty segments."""
        shown = slicer.vtkMRMLSegmentationNode.SafeDownCast(self._scene.GetNodeByID(target.segmentation))
        place_on(segmentation, volumeGeometry(volumeNode(self._scene, target.volume)))  # before anything changes
        self._painter.saveStateForUndo()
        held = {each.id for each in self.segments(target) if (each.labels == each.label_value).any()}
        for each in segmentIds(shown):
            if each not in held:
                shown.GetSegmentation().RemoveSegment(each)
        addSegments(shown, volumeNode(self._scene, target.volume), segmentation)
        self._on_added()
        return target.segmentation


def with_unique_names(segmentation: Segmentation, known: Sequence[NameAndColor]) -> Segmentation:
    """The segments with unique names and colours. known: names and colours that are already in use."""
    names, colors, found = {name for name, _ in known}, [color for _, color in known], []
    for each in segmentation.segments:
        name, number = each.name, 2
        while name in names:
            name, number = f"{each.name} ({number})", number + 1
        is_taken = any(np.allclose(each.color, other, atol=0.01) for other in colors)
        color = free_color(colors) if is_taken else each.color
        names.add(name)
        colors.append(color)
        found.append(replace(each, name=name, color=color))
    return replace(segmentation, segments=tuple(found))


def _used(node: slicer.vtkMRMLSegmentationNode) -> list[NameAndColor]:
    segments = [node.GetSegmentation().GetSegment(each) for each in segmentIds(node)]
    return [(each.GetName(), each.GetColor()) for each in segments]
