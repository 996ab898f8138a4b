"""Writes segments to a file on the full geometry of their volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import write_segmentation
from FewShotSAMLib.workflow.scene import SceneSegment


def exportSegments(
    segments: Sequence[SceneSegment], volume: slicer.vtkMRMLVolumeNode, geometry: Geometry, path: Path
) -> list[str]:
    """Write segments as `.seg.nrrd`, or as a label map with another suffix; never a partial file. Returns warnings.

    As in Slicer's own files, they lie where the volume's file lies: a parent transform is not written.
    Raises BadInputError if there is nothing to write, or the file cannot be written.
    """
    if not segments:
        raise BadInputError("No segment is chosen.", "Choose at least one segment to export.")
    warnings = write_segmentation(coreSegmentation(segments, geometry), path)
    transform = volume.GetParentTransformNode()
    if transform is not None:
        warnings.append(
            f"{path.name} has the position of the file of volume '{volume.GetName()}', without the transform "
            f"'{transform.GetName()}'. To include it, harden the transform of the volume and export again."
        )
    return warnings


def coreSegmentation(segments: Sequence[SceneSegment], geometry: Geometry) -> Segmentation:
    """The segments in the form of `core`: one layer per shared labelmap, on the whole grid."""
    places = _layersOf(segments)
    largest = max(segment.label_value for segment in segments)
    layers = np.zeros((max(places) + 1, *geometry.shape), np.uint8 if largest < 256 else np.uint16)
    for segment, place in zip(segments, places, strict=True):
        part = tuple(slice(o, o + n) for o, n in zip(segment.offset, segment.labels.shape, strict=True))
        box = layers[place][part]
        for target, plane in zip(box, segment.labels, strict=True):
            target[plane == segment.label_value] = segment.label_value
    described = tuple(
        Segment(each.id, each.name, each.color, each.label_value, place, each.tags)
        for each, place in zip(segments, places, strict=True)
    )
    return Segmentation(layers, geometry, described)


def _layersOf(segments: Sequence[SceneSegment]) -> list[int]:
    """The layer of each segment: one per labelmap; an empty segment goes to a layer where its label value is free."""
    labelmaps: dict[int, int] = {}  # layer of each labelmap, by the id() of its image
    for segment in segments:
        if segment.owner is not None:
            labelmaps.setdefault(id(segment.owner), len(labelmaps))
    taken = {(labelmaps[id(each.owner)], each.label_value) for each in segments if each.owner is not None}
    count, places = len(labelmaps), list[int]()
    for segment in segments:
        place = labelmaps.get(id(segment.owner))
        if place is None:
            place = next(n for n in range(count + 1) if (n, segment.label_value) not in taken)
            count = max(count, place + 1)
            taken.add((place, segment.label_value))
        places.append(place)
    return places
