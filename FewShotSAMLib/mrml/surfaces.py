"""Closed surfaces: as fine as a view can show, and updated only once for several changes of the labelmaps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import slicer

from FewShotSAMLib.mrml.grids import imageOfArray, imageToRas, isEmpty, viewOfImage
from FewShotSAMLib.mrml.segments import LABELMAP, newSegment

SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
MOST_CELLS = 256
"""Cells along the longest side of a labelmap: a view that shows all of it has two or three pixels for each."""


def forView(image: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
    """A copy of a labelmap, coarsened as far as a view of all of it allows; an empty one is returned as it is.

    Merged voxels get the largest of their labels, so that thin structures do not vanish.
    """
    if isEmpty(image):
        return image
    voxels, matrix, extent = viewOfImage(image), imageToRas(image), image.GetExtent()
    spacing = np.linalg.norm(matrix[:3, 2::-1], axis=0)  # along k, j, i
    cell = (spacing * voxels.shape).max() / MOST_CELLS
    steps = [max(1, int(cell / length)) for length in spacing]
    shape = [-(-count // step) for count, step in zip(voxels.shape, steps, strict=True)]
    joined = np.zeros(shape, voxels.dtype)
    for offsets in product(*map(range, steps)):
        part = voxels[tuple(slice(start, None, step) for start, step in zip(offsets, steps, strict=True))]
        into = joined[tuple(slice(count) for count in part.shape)]
        np.maximum(into, part, out=into)
    factor = np.array(steps[::-1])
    wider = matrix.copy()
    wider[:3, :3] *= factor
    wider[:3, 3] = (matrix @ [*(np.array(extent[::2]) + (factor - 1) / 2), 1.0])[:3]
    return imageOfArray(joined, wider)


def makeSurfaces(segmentation: slicer.vtkSegmentation) -> None:
    """Create the surfaces of all segments for a view, replacing existing ones."""
    draft = slicer.vtkSegmentation()
    draft.SetSourceRepresentationName(LABELMAP)
    draft.CopyConversionParameters(segmentation)
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    copies: dict[slicer.vtkOrientedImageData, slicer.vtkOrientedImageData] = {}
    for segmentId in ids:
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(LABELMAP)
        if image not in copies:
            copies[image] = forView(image)
        twin = newSegment(segment.GetName(), segment.GetColor(), segment.GetLabelValue(), copies[image])
        draft.AddSegment(twin, segmentId)
    if not draft.CreateRepresentation(SURFACE, True):
        return  # Slicer has logged why
    for segmentId in ids:
        surface = draft.GetSegment(segmentId).GetRepresentation(SURFACE)
        segmentation.GetSegment(segmentId).AddRepresentation(SURFACE, surface)
    segmentation.InvokeEvent(slicer.vtkSegmentation.ContainedRepresentationNamesModified)


class SurfaceUpdate:
    """Removes surfaces before their labelmaps change and recreates them afterwards; does nothing if there are none.

    Slicer would recreate the surface of a segment at each of several changes, for a second or more each.
    """

    def __init__(self, segmentation: slicer.vtkSegmentation) -> None:
        self._segmentation = segmentation
        self.isNeeded = bool(segmentation.ContainsRepresentation(SURFACE))

    def drop(self, segmentIds: Iterable[str]) -> None:
        """Remove the surfaces of segments that will change."""
        if self.isNeeded:
            for segmentId in segmentIds:
                self._segmentation.GetSegment(segmentId).RemoveRepresentation(SURFACE)

    def finish(self) -> None:
        """Recreate the removed surfaces."""
        if self.isNeeded:
            self._segmentation.CreateRepresentation(SURFACE)
