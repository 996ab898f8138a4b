"""What was understood of a file, on one screen: for `fewshotsam inspect` and the first section of panel and browser."""

from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import annotate
from FewShotSAMLib.core.dicom import is_dicom
from FewShotSAMLib.core.dicom_frames import LABEL_MAP, SEGMENTATION, read_header, sop_class
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import file_kind
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import read_image
from FewShotSAMLib.core.intensity import PRESETS, is_ct, parse_normalisation
from FewShotSAMLib.core.painted_axis import AXIS_NAMES
from FewShotSAMLib.core.plane import anatomical_axes, slice_plane
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.slicer_nrrd import has_segments
from FewShotSAMLib.core.volume import Volume, read_volume

Facts = dict[str, Any]
_MOST_LABELS = 300
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


def file_facts(path: Path | str) -> Facts:
    """The facts of a volume, a DICOM folder, a segmentation or a label map; ready for JSON.

    Raises BadInputError where it cannot be read, as the jobs do.
    """
    path = Path(path)
    if _is_segmentation(path):
        return segmentation_facts(read_segmentation(path), path.name)
    volume = read_volume(path)
    if _looks_like_labels(volume):
        return segmentation_facts(read_segmentation(path), path.name)
    return volume_facts(volume)


def volume_facts(volume: Volume) -> Facts:
    """Size, place, modality and window of a volume, and what was odd about it."""
    facts: Facts = {"kind": "volume", "name": volume.name, **grid_facts(volume.geometry)}
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    facts |= {"type": str(volume.voxels.dtype), "range": [low, high], "colours": volume.is_rgb}
    ct, why = (False, "colour volume") if volume.is_rgb else is_ct(volume)
    facts["modality"] = {
        "name": volume.modality or ("RGB" if volume.is_rgb else "CT" if ct else "MR or other"),
        "why": why,
    }
    normalisation = parse_normalisation("auto", volume)
    window = normalisation.resolve(volume)
    names = [name for name in PRESETS if not volume.is_rgb and parse_normalisation(name, volume) == normalisation]
    facts["window"] = {
        "name": names[0] if names else normalisation.key,
        "low": window.low,
        "high": window.high,
        "why": why,
    }
    facts["warnings"] = list(volume.warnings)
    return facts


def segmentation_facts(segmentation: Segmentation, name: str) -> Facts:
    """Size and place of a segmentation, its segments and their painted slices, and what was odd about it."""
    facts: Facts = {"kind": "segmentation", "name": name, **grid_facts(segmentation.geometry)}
    warnings = list(segmentation.warnings)
    axis: int | None = None
    try:
        annotation, more = annotate(segmentation)
        axis, warnings = annotation.axis, [*warnings, *more]
    except BadInputError as error:
        warnings.append(str(error))
    facts["axis"] = axis
    if axis is not None:
        facts["plane"] = slice_plane(segmentation.geometry, axis).name
    facts["segments"] = [_segment_facts(segmentation, number, axis) for number in range(len(segmentation.segments))]
    facts["warnings"] = warnings
    return facts


def grid_facts(geometry: Geometry) -> Facts:
    """Size, spacing, origin and orientation; the orientation's letters say where i, j and k lead, as in "LPS"."""
    ways = {axis: _LETTERS[anatomical][sign > 0] for axis, (anatomical, sign) in enumerate(anatomical_axes(geometry))}
    return {
        "size": list(geometry.size),
        "spacing": list(geometry.spacing),
        "origin": list(geometry.origin),
        "orientation": ways[2] + ways[1] + ways[0],
        "oblique": bool(np.abs(np.abs(geometry.direction) - np.rint(np.abs(geometry.direction))).max() > 1e-3),
    }


def facts_lines(facts: Facts) -> list[str]:
    """The facts in words, one screen at most."""
    size, spacing = (" x ".join(f"{value:.6g}" for value in facts[key]) for key in ("size", "spacing") if key in facts)
    origin = ", ".join(f"{value:.6g}" for value in facts["origin"])
    lines = [
        f"{facts['name']}: {facts['kind']}",
        f"  Size:        {size} voxels (i, j, k)",
        f"  Spacing:     {spacing} mm",
        f"  Origin:      {origin} mm (LPS)",
        f"  Orientation: {facts['orientation']}{', oblique' if facts['oblique'] else ''}",
    ]
    if "modality" in facts:
        low, high = facts["range"]
        lines.append(f"  Values:      {facts['type']}, {low:.6g} to {high:.6g}")
        lines.append(f"  Modality:    {facts['modality']['name']} ({facts['modality']['why']})")
        window = facts["window"]
        lines.append(f"  Window:      {window['low']:.6g} to {window['high']:.6g}, {window['name']} ({window['why']})")
    for segment in facts.get("segments", [])[:40]:
        slices = segment["painted_slices"]
        told = f"{len(slices)} painted slices: {_ranges(slices)}" if slices else f"{segment['voxels']} voxels"
        lines.append(f"  Segment {segment['label_value']}: {segment['name']}, {told}")
    if len(facts.get("segments", [])) > 40:
        lines.append(f"  and {len(facts['segments']) - 40} segments more")
    if facts.get("axis") is not None:
        lines.append(f"  Painted along axis {facts['axis']} ({AXIS_NAMES[facts['axis']]}), {facts['plane']} slices")
    return lines + [f"  warning: {text}" for text in facts.get("warnings", [])]


def _is_segmentation(path: Path) -> bool:
    if path.is_dir():
        return False
    if path.is_file() and is_dicom(path):
        header = read_header(path)
        return header is not None and sop_class(header) in (SEGMENTATION, LABEL_MAP)
    return file_kind(path) == "NRRD" and has_segments(read_image(path).metadata)


def _looks_like_labels(volume: Volume) -> bool:
    """Whether a volume holds few whole numbers from 0 up, mostly 0."""
    voxels = volume.voxels
    if volume.is_rgb or volume.modality or voxels.dtype.kind not in "iub" or voxels.min() < 0:
        return False
    return bool(np.count_nonzero(voxels == 0) > voxels.size / 2 and len(np.unique(voxels)) <= _MOST_LABELS)


def _segment_facts(segmentation: Segmentation, number: int, axis: int | None) -> Facts:
    segment = segmentation.segments[number]
    mask = segmentation.mask(segment)
    others = tuple(other for other in range(3) if other != axis)
    held = [] if axis is None else [int(index) for index in np.flatnonzero(mask.any(axis=others))]
    return {
        "name": segment.name,
        "label_value": segment.label_value,
        "color": list(segment.color),
        "voxels": int(np.count_nonzero(mask)),
        "painted_slices": held,
    }


def _ranges(numbers: list[int]) -> str:
    """Numbers as in “3, 7-9”, shortened where there are many."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    text = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts[:12])
    return text + (", ..." if len(parts) > 12 else "")
