"""Surfaces in the 3D view: made when asked for, and again once the user has paused.

Making them takes a while, during which no view is drawn.
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
"""Voxels up to which surfaces are shown from the start: then making one takes a fraction of a second."""


class Surfaces:
    """Whether surfaces of the segmentation, and of a finished preview, are shown.

    Those of the segmentation are held by a separate, hidden node: in the segmentation itself, Slicer would make them
    again at each stroke, and forget each time what Redo could restore. The node holds copies of the label maps, as fine
    as the view can show: if segments share one, Slicer erases in it each segment that it removes, and painting on a
    label map that two nodes share can crash.
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
        """The nodes added to the scene."""
        return [] if self._node is None else [self._node]

    def begin(
        self, segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLVolumeNode, voxels: int
    ) -> None:
        """Show another segmentation. voxels: number of voxels of its volume."""
        self._source, self._due_at, self._was_preview = segmentation, None, False
        self._node = newSegmentationNode(self._scene, volume, "FewShotSAM surfaces", isTemporary=True)
        display = self._node.GetDisplayNode()
        display.SetVisibility2D(False)
        display.SetPreferredDisplayRepresentationName3D(SURFACE)
        self.are_shown = voxels <= LARGEST_AT_ONCE

    def end(self) -> None:
        """Forget the segmentation; the caller removes the nodes."""
        self._source, self._node, self._due_at = None, None, None

    def show(self, shown: bool) -> None:
        """Make the surfaces, or remove them."""
        self.are_shown = shown
        self.look_soon(0.0)
        if not shown and self._node is not None:
            self._node.GetSegmentation().RemoveAllSegments()
        if self._session.preview is not None:
            self._session.preview.set_shown_in_3d(shown)

    def look_soon(self, quiet_s: float = QUIET_S) -> None:
        """Make the surfaces again after `quiet_s` seconds, as the segmentation has changed."""
        if self.are_shown:
            self._due_at = self._clock() + quiet_s

    def postpone(self) -> None:
        """Postpone the surfaces: the user is at work in a view, and should not have to wait."""
        if self._due_at is not None:
            self.look_soon()

    def poll(self, is_calm: bool) -> bool:
        """Make the surfaces if due, unless a run needs the processor; returns whether those of a preview appeared."""
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
