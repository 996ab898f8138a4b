"""Gives numpy access to the segments of a segmentation on the grid of a volume, without copying them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import SLIGHT, Geometry
from FewShotSAMLib.mrml.grids import geometryOfImage, isEmpty, viewOfImage
from FewShotSAMLib.workflow.scene import SceneSegment

LABELMAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
# Slicer's Python cannot list the tags of a segment, so the known ones are queried.
_TAGS = (
    "Segmentation.Status",
    "TerminologyEntry",
    "Description",
    "DICOM.SegmentAlgorithmName",
    "DICOM.SegmentAlgorithmType",
    "DicomRtImport.RoiNumber",
)


def segmentIds(node: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """The ids of all segments, in their order."""
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]


def labelmapOf(node: slicer.vtkMRMLSegmentationNode, segmentId: str) -> slicer.vtkOrientedImageData | None:
    """The image in which a segment is stored, perhaps together with others; None if it has no voxels."""
    image = node.GetSegmentation().GetSegment(segmentId).GetRepresentation(LABELMAP)
    return None if isEmpty(image) else image


def newSegment(
    name: str, color: Sequence[float], labelValue: int, image: slicer.vtkOrientedImageData
) -> slicer.vtkSegment:
    """Create a segment whose voxels are those of `image` with its label value."""
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*color)
    segment.SetLabelValue(labelValue)
    segment.AddRepresentation(LABELMAP, image)
    return segment


def sceneSegments(node: slicer.vtkMRMLSegmentationNode, geometry: Geometry, toVolume: np.ndarray) -> list[SceneSegment]:
    """All segments as parts of the grid `geometry` of a volume; toVolume: see `segmentationToVolume`.

    Raises BadInputError if they are stored as surfaces, or on another grid than the volume's, shifts and crops aside.
    """
    checkLabelmaps(node)
    display = node.GetDisplayNode()
    parts: dict[int, tuple[np.ndarray, tuple[int, int, int], float]] = {}
    found = []
    for segmentId in segmentIds(node):
        image = labelmapOf(node, segmentId)
        if id(image) not in parts:
            parts[id(image)] = _partOn(geometry, image, node, toVolume)
        labels, offset, apart = parts[id(image)]
        segment = node.GetSegmentation().GetSegment(segmentId)
        visible = display is None or bool(display.GetSegmentVisibility(segmentId))
        found.append(
            SceneSegment(
                id=segmentId,
                name=segment.GetName() or segmentId,
                color=segment.GetColor(),
                labels=labels,
                offset=offset,
                label_value=segment.GetLabelValue(),
                visible=visible,
                tags=_tags(segment),
                owner=image,
                apart=apart,
            )
        )
    return found


def chosenSegments(segments: Sequence[SceneSegment], ids: Sequence[str]) -> list[SceneSegment]:
    """The segments with these ids, in the order of the ids; raises BadInputError if one no longer exists."""
    found = {each.id: each for each in segments}
    missing = [each for each in ids if each not in found]
    if missing:
        raise BadInputError(
            f"{len(missing)} of the segments are no longer in the segmentation.",
            "Undo their removal, or choose the segments again.",
        )
    return [found[each] for each in ids]


def checkLabelmaps(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Raise BadInputError if the segments are not stored as voxels, so that painting would not change them."""
    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != LABELMAP:
        raise BadInputError(
            f"Segmentation '{node.GetName()}' is stored as '{segmentation.GetSourceRepresentationName()}', not as "
            "voxels.",
            "Select it in the Segment Editor and accept its conversion, or make Binary labelmap the source "
            "representation in the Segmentations module.",
        )


def _partOn(
    geometry: Geometry,
    image: slicer.vtkOrientedImageData | None,
    node: slicer.vtkMRMLSegmentationNode,
    toVolume: np.ndarray,
) -> tuple[np.ndarray, tuple[int, int, int], float]:
    """View of the voxels of a labelmap that lie inside the volume, the volume's index (k, j, i) of the first, and the
    fraction of a voxel by which they are off the volume's."""
    nothing = np.zeros((0, 0, 0), np.uint8), (0, 0, 0), 0.0
    if image is None:
        return nothing
    try:
        stored = geometryOfImage(image, toVolume)
    except BadInputError as error:  # the axes of the two are not at right angles to each other
        raise _otherGrid(node, "Their axes are sheared relative to each other.") from error
    lattice = geometry.lattice_map(stored, SLIGHT)
    if lattice is None:
        raise _otherGrid(node, f"Segmentation: {stored.describe()}. Volume: {geometry.describe()}.")
    turned = lattice.turn(viewOfImage(image))
    first = lattice.first_index(stored.size)
    start = [max(0, index) for index in first]
    stop = [min(limit, index + n) for limit, index, n in zip(geometry.shape, first, turned.shape, strict=True)]
    if any(low >= high for low, high in zip(start, stop, strict=True)):
        return nothing
    inside = tuple(slice(low - index, high - index) for low, high, index in zip(start, stop, first, strict=True))
    k, j, i = start
    return turned[inside], (k, j, i), lattice.apart


def _otherGrid(node: slicer.vtkMRMLSegmentationNode, details: str) -> BadInputError:
    return BadInputError(
        f"Segmentation '{node.GetName()}' is on another grid than the volume. {details}",
        "Create a new segmentation for this volume, or choose the volume that the segmentation was made for. To keep "
        "what is painted, open the Segment Editor module, press Specify geometry (the grid icon next to the source "
        "volume) and select this volume as source geometry.",
    )


def _tags(segment: slicer.vtkSegment) -> dict[str, str]:
    found = {}
    for name in _TAGS:
        value = vtk.reference("")
        if segment.GetTag(name, value):
            found[name] = str(value)
    return found
