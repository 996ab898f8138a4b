"""Reads segmentations and label maps, places them on a volume's grid, and writes them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.dicom_seg import SEG_SUFFIX, check_source, read_dicom_seg, with_reference, write_dicom_seg
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import DICOM, file_kind, head_of
from FewShotSAMLib.core.files import check_name, check_writable, compound_suffix, files_below
from FewShotSAMLib.core.geometry import SAME_TOLERANCE, SLIGHT, Geometry
from FewShotSAMLib.core.image_io import WRITABLE_SUFFIXES, check_grid, check_suffix, read_image, write_image
from FewShotSAMLib.core.segment import LARGEST_LABEL, Segment, Segmentation, nothing_painted, segments_of_labels
from FewShotSAMLib.core.slicer_nrrd import has_segments, parse_fields, parse_segments, write_seg_nrrd

SEGMENTATION_SUFFIXES = (".seg.nrrd", *WRITABLE_SUFFIXES, SEG_SUFFIX)
_NOTICEABLE = 0.01  # voxels: the user is told if annotation and volume are further apart
_WHOLE_TOLERANCE = 0.01  # labels stored as scaled floats come back as 2.9999


def read_segmentation(path: Path | str) -> Segmentation:
    """Read a `.seg.nrrd` or a DICOM SEG with its segments, or a label map, whose values become segments.

    Raises BadInputError if the file is unreadable or empty, or has labels other than whole numbers from 0 to 65535.
    """
    path = Path(path)
    check_name(path)
    if path.is_dir():
        if len(files := files_in(path)) != 1:
            hint = "Give a label map, a .seg.nrrd file or the file of a DICOM SEG."
            raise BadInputError(f"{path} is a folder.", hint)
        path = files[0]
    if file_kind(path) == DICOM:
        return read_dicom_seg(path)
    if head_of(path)[0].startswith(b"\xff\xd8\xff"):
        raise BadInputError(f"{path} is a JPEG picture, which does not preserve labels.", "Save it as .png.")
    stored = read_image(path)
    described = has_segments(stored.metadata)
    voxels = stored.voxels[np.newaxis] if stored.voxels.ndim == 3 else np.moveaxis(stored.voxels, -1, 0)
    if len(voxels) > 1 and not described:
        raise BadInputError(
            f"{path} holds {len(voxels)} values per voxel and no segments.", "Give a label map or a .seg.nrrd file."
        )
    layers, seen = _to_labels(voxels, path)
    if described:
        segments = parse_segments(stored.metadata, len(layers))
    else:
        segments = segments_of_labels([int(value) for value in np.flatnonzero(seen[0])])
    layers, warnings = _without_unassigned(layers, seen, segments)
    if not any(seen[segment.layer, segment.label_value] for segment in segments):
        raise nothing_painted(path)
    return Segmentation(layers, stored.geometry, segments, parse_fields(stored.metadata), stored.warnings + warnings)


def place_on(segmentation: Segmentation, geometry: Geometry) -> tuple[Segmentation, list[str]]:
    """Copy a smaller, shifted, flipped or permuted segmentation onto a grid, voxel by voxel; also return warnings.

    Raises BadInputError if the voxels of the two grids do not coincide, or no label lies inside.
    """
    if segmentation.geometry.displacement(geometry) > SAME_TOLERANCE and any(
        grid.is_same_as(stated)
        for grid in geometry.as_written_in()
        for stated in (segmentation.geometry, *segmentation.geometry.as_written_in())
    ):
        return replace(segmentation, geometry=geometry), [
            "The annotation matches the other of the volume's two forms (sform, qform); it was assumed to lie on the "
            "volume's voxels."
        ]
    lattice = geometry.lattice_map(segmentation.geometry, SLIGHT)
    if lattice is None:
        raise BadInputError(
            "The annotation is on another grid than the volume. "
            f"Annotation: {segmentation.geometry.describe()}. Volume: {geometry.describe()}.",
            "Resample the annotation to the volume (in 3D Slicer: export it with the volume as reference).",
        )
    warnings = grid_offset_warnings(lattice.apart)
    if segmentation.geometry.size == geometry.size and lattice.is_identity:
        return replace(segmentation, geometry=geometry), warnings
    first = lattice.first_index(segmentation.geometry.size)
    layers = np.zeros((len(segmentation.layers), *geometry.shape), segmentation.layers.dtype)
    lost = 0
    for target, layer in zip(layers, segmentation.layers, strict=True):
        turned = lattice.turn(layer)
        pairs = [_overlap(*spans) for spans in zip(first, turned.shape, geometry.shape, strict=True)]
        inside = turned[tuple(theirs for _, theirs in pairs)]
        target[tuple(ours for ours, _ in pairs)] = inside
        lost += int(np.count_nonzero(layer)) - int(np.count_nonzero(inside))
    if not layers.any():
        raise BadInputError(
            "The annotation lies outside the volume. "
            f"Annotation: {segmentation.geometry.describe()}. Volume: {geometry.describe()}.",
            "Check that both belong to the same scan.",
        )
    if lost:
        warnings.append(f"{lost} labelled voxels lie outside the volume and were left out.")
    return replace(segmentation, layers=layers, geometry=geometry), warnings


def grid_offset_warnings(apart: float) -> list[str]:
    """The warning, if any, about an annotation whose grid is off the volume's by `apart` voxels."""
    if apart <= _NOTICEABLE:
        return []
    return [f"The annotation's grid is off the volume's by up to {apart:.2g} voxels; it was assumed to be the same."]


def write_segmentation(segmentation: Segmentation, path: Path | str, source: Sequence[Any] = ()) -> list[str]:
    """Write a `.seg.nrrd`, a DICOM SEG (`.dcm`), or a label map for the other SEGMENTATION_SUFFIXES.

    The file is written atomically; returns warnings. `source`: the volume's, to which a DICOM SEG refers.
    A label map has one layer: segments of different layers with the same label value get new values, and where
    segments overlap the later one wins. Raises BadInputError for another suffix, a folder that is missing or
    read-only, a full disk, or a grid that the format cannot hold.
    """
    path = Path(path)
    check_suffix(path, SEGMENTATION_SUFFIXES)
    if compound_suffix(path) == SEG_SUFFIX:
        return write_dicom_seg(segmentation, path, source)
    if compound_suffix(path) != ".seg.nrrd":
        labels, warnings = _label_map(segmentation)
        write_image(labels, segmentation.geometry, path)
        return warnings
    write_seg_nrrd(with_reference(segmentation, source), path)
    return []


def check_output(path: Path | str) -> None:
    """Raise BadInputError if `write_segmentation` could not write this file; to be checked before a long job."""
    check_suffix(Path(path), SEGMENTATION_SUFFIXES)
    check_writable(Path(path))


def check_fits(path: Path | str, geometry: Geometry, source: Sequence[Any] = ()) -> None:
    """Raise BadInputError if the output's format cannot hold a segmentation of this volume; likewise before a job."""
    check_grid(Path(path), geometry)
    if compound_suffix(Path(path)) == SEG_SUFFIX:
        check_source(source, geometry)


def files_in(folder: Path) -> list[Path]:
    """The files in a folder, except hidden ones; a folder exported for a DICOM SEG holds just one."""
    return [file for file in sorted(files_below(folder)) if file.is_file() and not file.name.startswith(".")]


def _to_labels(voxels: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Layers (L, K, J, I) as uint8 or uint16 (a copy only where needed), and which values occur: (L, 65536) bool."""
    low, high = _range(voxels, path)
    if low < 0 or high > LARGEST_LABEL:
        raise BadInputError(
            f"{path} holds label values from {low} to {high}.",
            f"Use label values from 0 to {LARGEST_LABEL}; check that it is a label map and not the image.",
        )
    dtype = np.dtype(np.uint8 if high < 256 else np.uint16)
    layers = voxels if voxels.dtype == dtype else np.empty(voxels.shape, dtype)
    seen = np.zeros((len(voxels), LARGEST_LABEL + 1), bool)
    for layer, stored, present in zip(layers, voxels, seen, strict=True):
        for plane, raw in zip(layer, stored, strict=True):
            if layers is not voxels:
                plane[...] = np.rint(raw) if raw.dtype.kind == "f" else raw
            if plane.any():  # most slices of an annotation are not painted
                present[np.flatnonzero(np.bincount(plane.ravel()))] = True
    seen[:, 0] = False
    return layers, seen


def _range(voxels: np.ndarray, path: Path) -> tuple[int, int]:
    low, high = 0, 0
    for layer in voxels:
        for plane in layer:
            if plane.dtype.kind == "f" and not _is_whole(plane):
                raise BadInputError(
                    f"{path} holds voxels that are not whole numbers.",
                    "Give a label map, not an image or a probability map.",
                )
            low, high = min(low, round(float(plane.min()))), max(high, round(float(plane.max())))
    return low, high


def _is_whole(plane: np.ndarray) -> bool:
    return bool(np.isfinite(plane).all() and np.allclose(plane, np.rint(plane), 0.0, _WHOLE_TOLERANCE))


def _without_unassigned(
    layers: np.ndarray, seen: np.ndarray, segments: tuple[Segment, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Clear the voxels whose value belongs to no segment: Slicer ignores them, too."""
    known = np.zeros_like(seen)
    for segment in segments:
        known[segment.layer, segment.label_value] = True
    unassigned = int(np.count_nonzero(seen & ~known))
    if not unassigned:
        return layers, ()
    cleaned = np.stack([np.where(known[number][layer], layer, 0) for number, layer in enumerate(layers)])
    return cleaned.astype(layers.dtype), (f"{unassigned} label values belong to no segment and were left out.",)


def _overlap(first: int, length: int, limit: int) -> tuple[slice, slice]:
    """Intersect `length` voxels from index `first` with 0 to `limit`: the slice of the latter, and of the former."""
    start, stop = max(0, first), max(0, min(limit, first + length))
    return slice(start, max(start, stop)), slice(start - first, max(start, stop) - first)


def _label_map(segmentation: Segmentation) -> tuple[np.ndarray, list[str]]:
    """One layer (K, J, I) with a distinct value for each segment, and warnings about what this changed."""
    values, warnings = _distinct_values(segmentation.segments)
    labels = np.zeros(segmentation.geometry.shape, np.uint8 if max(values, default=0) < 256 else np.uint16)
    overlap = 0
    for number, layer in enumerate(segmentation.layers):
        table = np.zeros(LARGEST_LABEL + 1, labels.dtype)
        for segment, value in zip(segmentation.segments, values, strict=True):
            if segment.layer == number:
                table[segment.label_value] = value
        for target, plane in zip(labels, layer, strict=True):
            new = table[plane]
            overlap += int(np.count_nonzero((new > 0) & (target > 0)))
            np.copyto(target, new, where=new > 0)
    if overlap:
        warnings.append(
            f"{overlap} voxels belong to several segments; the label map shows one. Save as .seg.nrrd for all."
        )
    return labels, warnings


def _distinct_values(segments: tuple[Segment, ...]) -> tuple[list[int], list[str]]:
    values: list[int] = []
    warnings = []
    for segment in segments:
        value = segment.label_value
        if value in values:
            value = max([*values, *(each.label_value for each in segments)]) + 1
            warnings.append(f"Segment {segment.name!r} got label value {value}, as {segment.label_value} is in use.")
        values.append(value)
    return values, warnings


def segmentation_of(labels: np.ndarray, geometry: Geometry, name: str = "The annotation") -> Segmentation:
    """The segmentation of a label map (K, J, I) in memory; raises BadInputError as `read_segmentation` does."""
    if labels.shape != geometry.shape:
        raise BadInputError(f"{name} has the shape {labels.shape}, not {geometry.shape}.", "Give (k, j, i) labels.")
    numbers = labels.astype(np.uint8) if labels.dtype == bool else labels
    layers, seen = _to_labels(numbers[np.newaxis], Path(name))
    segments = segments_of_labels([int(value) for value in np.flatnonzero(seen[0])])
    if not segments:
        raise BadInputError(f"{name} holds no painted voxel.", "Paint a few slices.")
    return Segmentation(layers, geometry, segments)
