"""Passes a volume and its painted slices to the background process, as files in the job folder, written in a thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.slicer_nrrd import nrrd_header
from FewShotSAMLib.core.stored import MODALITY_KEY
from FewShotSAMLib.workflow.scene import SceneSegment, SceneVolume

_TYPES = {"bool": "uint8", "float32": "float", "float64": "double"}
"""NRRD's names of types that numpy names differently."""


def write_volume(volume: SceneVolume, path: Path) -> None:
    """Write a volume as uncompressed NRRD, slice by slice, without copying the whole.

    Raises BadInputError if the voxels are not numbers, or the disk is full.
    """
    dtype = volume.voxels.dtype.newbyteorder("<")
    kind = _TYPES.get(dtype.name, dtype.name if dtype.kind in "iu" else None)
    if kind is None:
        raise BadInputError(f"The volume “{volume.name}” has voxels of type {dtype}.", "Convert it to a numeric type.")
    colour = (volume.voxels.shape[3], "vector") if volume.voxels.ndim == 4 else None
    metadata = [(MODALITY_KEY, volume.modality)] if volume.modality else []
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(nrrd_header(kind, volume.geometry, "raw", colour, metadata).encode("ascii"))
        for plane in volume.voxels:
            stream.write(np.ascontiguousarray(plane, dtype=dtype).data)


def build_annotation(
    segments: Sequence[SceneSegment], geometry: Geometry, axis: int, painted: Mapping[int, Collection[str]]
) -> Segmentation:
    """The segments as they are on the painted slices along `axis`, on the volume's grid; all other slices are empty.

    painted: ids of the segments that are painted on each slice. The order of the segments is kept, as it defines the
    classes 1 to C of the result.
    """
    layers: list[np.ndarray] = []
    placed: list[Segment] = []
    for segment in segments:
        mask = _on_slices(segment, geometry, axis, [index for index, ids in painted.items() if segment.id in ids])
        number = _free_layer(layers, mask, geometry)
        layers[number][mask] = len(placed) + 1
        placed.append(Segment(segment.id, segment.name, segment.color, len(placed) + 1, number, dict(segment.tags)))
    return Segmentation(np.stack(layers), geometry, tuple(placed))


def _on_slices(segment: SceneSegment, geometry: Geometry, axis: int, painted: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Indices (k, j, i) in the volume of the segment's voxels on these slices."""
    found: list[np.ndarray] = []
    for index in painted:
        local = index - segment.offset[axis]
        if not 0 <= local < segment.labels.shape[axis]:
            continue
        rows, columns = np.nonzero(np.take(segment.labels, local, axis) == segment.label_value)
        place = np.empty((3, len(rows)), np.intp)
        row_axis, column_axis = (other for other in range(3) if other != axis)
        place[axis], place[row_axis], place[column_axis] = local, rows, columns
        found.append(place + np.reshape(segment.offset, (3, 1)))
    voxels = np.concatenate(found, axis=1) if found else np.empty((3, 0), np.intp)
    return voxels[0], voxels[1], voxels[2]


def _free_layer(layers: list[np.ndarray], mask: tuple[np.ndarray, ...], geometry: Geometry) -> int:
    """The first layer that is empty at these voxels; a new one if none is."""
    for number, layer in enumerate(layers):
        if not layer[mask].any():
            return number
    layers.append(np.zeros(geometry.shape, np.uint8))
    return len(layers) - 1


def segmentation_of(classes: np.ndarray, geometry: Geometry, segments: Sequence[Segment]) -> Segmentation:
    """A finished result as a segmentation: classes (K, J, I) uint8, 1 to C for the segments in their order."""
    placed = tuple(replace(segment, label_value=number, layer=0) for number, segment in enumerate(segments, start=1))
    return Segmentation(classes[np.newaxis], geometry, placed)


def described(segments: Iterable[SceneSegment]) -> tuple[Segment, ...]:
    """Names, colours and tags of the scene's segments, with the classes 1 to C in their order."""
    return tuple(Segment(s.id, s.name, s.color, n, 0, dict(s.tags)) for n, s in enumerate(segments, start=1))
