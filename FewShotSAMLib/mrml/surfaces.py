"""Keeps closed surfaces in step with labelmaps, and makes each of them once however often its labelmap changes."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


class SurfaceUpdate:
    """Drops surfaces before their labelmaps change and makes them again afterwards; nothing where none are shown.

    Slicer would make the surface of a segment again at each of several changes, for a second or more each.
    """

    def __init__(self, segmentation: slicer.vtkSegmentation) -> None:
        self._segmentation = segmentation
        self.isNeeded = bool(segmentation.ContainsRepresentation(SURFACE))

    def drop(self, segmentIds: Iterable[str]) -> None:
        """These segments will change."""
        if self.isNeeded:
            for segmentId in segmentIds:
                self._segmentation.GetSegment(segmentId).RemoveRepresentation(SURFACE)

    def finish(self) -> None:
        """Make the surfaces that were dropped."""
        if self.isNeeded:
            self._segmentation.CreateRepresentation(SURFACE)
