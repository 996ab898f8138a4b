"""The list of segments: add, choose, rename, colour, hide, remove."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import slicer
from trame_slicer.core import SegmentationEditor

LONGEST_NAME = 100
# Distinguishable on grey images and by colour-blind users (after Okabe and Ito, brighter).
_COLORS = (
    (0.34, 0.71, 0.91),
    (0.90, 0.62, 0.00),
    (0.00, 0.72, 0.52),
    (0.94, 0.89, 0.26),
    (0.86, 0.40, 0.10),
    (0.80, 0.47, 0.65),
    (0.35, 0.45, 0.95),
    (0.75, 0.75, 0.75),
)


def free_color(taken: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """A colour that is not taken; a taken one if all are."""
    free = (each for each in _COLORS if not any(np.allclose(each, other, atol=0.01) for other in taken))
    return next(free, _COLORS[len(taken) % len(_COLORS)])


class SegmentList:
    """The segments of the editor's segmentation; brushes paint the chosen one."""

    def __init__(self, editor: SegmentationEditor) -> None:
        self._editor = editor

    @property
    def chosen(self) -> str:
        """Id of the segment that is painted, "" if there is none."""
        return self._editor.active_segment_id or ""

    def begin(self) -> None:
        """Set up a new segmentation: colour its segments and choose the first."""
        ids = self._ids()
        for number, segment_id in enumerate(ids):
            self.color(segment_id, _COLORS[number % len(_COLORS)])
        self.choose(ids[0] if ids else "")

    def add(self) -> str:
        """Add an empty segment and choose it; returns its id."""
        segments = self._node().GetSegmentation()
        color = free_color([segments.GetSegment(each).GetColor() for each in self._ids()])
        segment_id = segments.AddEmptySegment("", self._free_name(), color)
        self.choose(segment_id)
        return str(segment_id)

    def choose(self, segment_id: str) -> None:
        """Choose the segment to paint from now on."""
        self._editor.set_active_segment_id(segment_id)

    def keep_choice(self) -> None:
        """Choose another segment if the chosen one no longer exists."""
        ids = self._ids()
        if self.chosen not in ids:
            self.choose(ids[0] if ids else "")

    def rename(self, segment_id: str, name: str) -> None:
        """Rename a segment; an empty name changes nothing."""
        name = " ".join(name.split())[:LONGEST_NAME]
        segment = self._segment(segment_id)
        if segment is not None and name:
            segment.SetName(name)

    def color(self, segment_id: str, color: tuple[float, float, float]) -> None:
        """Set a segment's colour, three numbers from 0 to 1."""
        segment = self._segment(segment_id)
        if segment is not None:
            segment.SetColor(*color)

    def show(self, segment_id: str, visible: bool) -> None:
        """Show or hide a segment; hidden ones are ignored by runs."""
        if self._segment(segment_id) is not None:
            self._node().GetDisplayNode().SetSegmentVisibility(segment_id, visible)

    def remove(self, segment_id: str) -> None:
        """Remove a segment with everything painted in it."""
        if self._segment(segment_id) is not None:
            self._node().GetSegmentation().RemoveSegment(segment_id)
            self.keep_choice()

    def _node(self) -> slicer.vtkMRMLSegmentationNode:
        return self._editor.active_segmentation_node

    def _ids(self) -> list[str]:
        return list(self._editor.get_segment_ids())

    def _segment(self, segment_id: str) -> slicer.vtkSegment | None:
        return self._editor.get_segment(segment_id)

    def _free_name(self) -> str:
        taken = set(self._editor.get_segment_names())
        names = (f"Segment_{number}" for number in itertools.count(len(taken) + 1))
        return next(name for name in names if name not in taken)
