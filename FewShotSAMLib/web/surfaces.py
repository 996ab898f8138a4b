"""Surfaces in the 3D view: made when asked for, and again once the user has paused.

Making them takes a while, in which no other view is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer

from FewShotSAMLib.mrml.create import newSegmentationNode
from FewShotSAMLib.mrml.segments import labelmapOf, newSegment, segmentIds
from FewShotSAMLib.mrml.surfaces import SURFACE, forView
from FewShotSAMLib.workflow import Session, State

QUIET_S = 0.8
LARGEST_AT_ONCE = 12_000_000
"""Voxels up to which surfaces are shown from the start: making one takes a fraction of a second then."""


class Surfaces:
    """Whether surfaces of the segmentation, and of a finished preview, are shown.

    Those of the segmentation lie in a hidden node of their own: in the segmentation itself Slicer would make them again
    at each stroke, and each time forget what Redo could do again. It holds copies of the labelmaps, as fine as the view
    can show: where segments have one in common, Slicer erases in it what it removes, and painting on what two nodes
    share can crash.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, session: Session, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._scene, self._session, self._clock = scene, session, clock
        self._source: slicer.vtkMRMLSegmentationNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._due_at: float | None = None
        self._was_preview = False
        self.are_shown = False

    @property
    def nodes(self) -> list[slicer.vtkMRMLSegmentationNode]:
        """What was added to the scene."""
        return [] if self._node is None else [self._node]

    def begin(
        self, segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLVolumeNode, voxels: int
    ) -> None:
        """Another segmentation, of a volume with so many voxels."""
        self._source, self._due_at, self._was_preview = segmentation, None, False
        self._node = newSegmentationNode(self._scene, volume, "FewShotSAM surfaces", isTemporary=True)
        display = self._node.GetDisplayNode()
        display.SetVisibility2D(False)
        display.SetPreferredDisplayRepresentationName3D(SURFACE)
        self.are_shown = voxels <= LARGEST_AT_ONCE

    def end(self) -> None:
        """There is no segmentation any more; its nodes are removed by others."""
        self._source, self._node, self._due_at = None, None, None

    def show(self, shown: bool) -> None:
        """Make the surfaces, or drop them."""
        self.are_shown = shown
        self.look_soon(0.0)
        if not shown and self._node is not None:
            self._node.GetSegmentation().RemoveAllSegments()
        if self._session.preview is not None:
            self._session.preview.set_shown_in_3d(shown)

    def look_soon(self, quiet_s: float = QUIET_S) -> None:
        """The segmentation changed."""
        if self.are_shown:
            self._due_at = self._clock() + quiet_s

    def put_off(self) -> None:
        """Somebody is at work in a view, and should not have to wait for surfaces."""
        if self._due_at is not None:
            self.look_soon()

    def poll(self, is_calm: bool) -> bool:
        """Make what is due, unless the computer has better things to do; True where a result appeared."""
        is_preview = self._session.state is State.PREVIEW
        appeared = is_preview and not self._was_preview and self.are_shown
        self._was_preview = is_preview
        if appeared and self._session.preview is not None:
            self._session.preview.set_shown_in_3d(True)
        if self._due_at is not None and is_calm and self._clock() >= self._due_at:
            self._due_at = None
            self._make()
        return appeared

    def _make(self) -> None:
        if self._node is None or self._source is None or not self.are_shown:
            return
        was_modifying = self._node.StartModify()
        segmentation, display = self._node.GetSegmentation(), self._source.GetDisplayNode()
        segmentation.RemoveAllSegments()
        copies: dict[slicer.vtkOrientedImageData, slicer.vtkOrientedImageData] = {}
        for segment_id in segmentIds(self._source):
            image = labelmapOf(self._source, segment_id)
            if image is not None and display.GetSegmentVisibility(segment_id):
                if image not in copies:
                    copies[image] = forView(image)
                segment = self._source.GetSegmentation().GetSegment(segment_id)
                look = segment.GetName(), segment.GetColor(), segment.GetLabelValue()
                segmentation.AddSegment(newSegment(*look, copies[image]), segment_id)
        if segmentation.GetNumberOfSegments():
            segmentation.CreateRepresentation(SURFACE, True)
        self._node.EndModify(was_modifying)
