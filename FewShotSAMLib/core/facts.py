"""What was understood of a file, on one screen: for `fewshotsam inspect` and the first section of panel and browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from FewShotSAMLib.core.annotation import Annotation, annotate, comma_list
from FewShotSAMLib.core.dicom import Step, ignore_progress
from FewShotSAMLib.core.dicom_frames import LABEL_MAP, SEGMENTATION, read_header, sop_class
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import DICOM, NRRD, file_kind
from FewShotSAMLib.core.geometry import SLIGHT, Geometry, slices_of
from FewShotSAMLib.core.image_io import read_image
from FewShotSAMLib.core.intensity import PRESETS, is_ct, parse_normalisation
from FewShotSAMLib.core.painted_axis import AXIS_NAMES
from FewShotSAMLib.core.plane import anatomical_axes, slice_plane
from FewShotSAMLib.core.plausibility import annotation_warnings
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.core.segmentation import files_in, read_segmentation
from FewShotSAMLib.core.slicer_nrrd import has_segments
from FewShotSAMLib.core.volume import Volume, read_volume

Facts = dict[str, Any]
_MOST_LABELS = 300
_MOST_SEGMENTS = 40
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


def file_facts(path: Path | str, step: Step = ignore_progress) -> Facts:
    """The facts of a volume, a DICOM folder, a segmentation or a label map; ready for JSON.

    Raises BadInputError if it cannot be read, as the jobs do.
    """
    path = Path(path)
    if not _is_segmentation(path) and not _looks_like_labels(volume := read_volume(path, step)):
        return volume_facts(volume)
    return segmentation_facts(read_segmentation(path), path.name)


def volume_facts(volume: Volume) -> Facts:
    """Size, place, modality and window of a volume, and warnings about it."""
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
    slant = volume.geometry.slant()
    slanted = f"Its axes are not perpendicular ({slant:.2g} voxels at the far corner), which NIfTI cannot hold."
    facts["warnings"] = [*volume.warnings, *([slanted] if slant >= SLIGHT else [])]
    return facts


def segmentation_facts(segmentation: Segmentation, name: str) -> Facts:
    """Size and place of a segmentation, its segments and their painted slices, and warnings about it."""
    facts: Facts = {"kind": "segmentation", "name": name, **grid_facts(segmentation.geometry)}
    warnings = list(segmentation.warnings)
    axis: int | None = None
    unknown: dict[tuple[str, int], list[int]] = {}
    try:
        annotation, more = annotate(segmentation)
        axis, warnings = annotation.axis, [*warnings, *more, *annotation_warnings(annotation)]
        unknown = _unknown_slices(annotation)
    except BadInputError as error:
        warnings.append(str(error))
    facts["axis"] = axis
    if axis is not None:
        facts["plane"] = slice_plane(segmentation.geometry, axis).name
    facts["segments"] = [
        _segment_facts(segmentation, number, axis)
        | {"unknown_slices": unknown.get((segment.name, segment.label_value), [])}
        for number, segment in enumerate(segmentation.segments)
    ]
    facts["warnings"] = warnings
    return facts


def grid_facts(geometry: Geometry) -> Facts:
    """Size, spacing, origin and orientation; the orientation's letters say where i, j and k point, as in "LPS"."""
    ways = {axis: _LETTERS[anatomical][sign > 0] for axis, (anatomical, sign) in enumerate(anatomical_axes(geometry))}
    return {
        "size": list(geometry.size),
        "spacing": list(geometry.spacing),
        "origin": list(geometry.origin),
        "orientation": ways[2] + ways[1] + ways[0],
        "oblique": bool(np.abs(np.abs(geometry.direction) - np.rint(np.abs(geometry.direction))).max() > 1e-3),
    }


class Fact(NamedTuple):
    """A fact in words: what it is about, and a text with {0}, {1}... for the values, so that it can be translated."""

    label: str
    text: str
    values: tuple[str, ...]


def facts_lines(facts: Facts) -> list[str]:
    """The facts in words, one screen at most."""
    lines = [f"{facts['name']}: {facts['kind']}"]
    return lines + [f"  {row.label + ':':<12} {row.text.format(*row.values)}" for row in facts_rows(facts)]


def facts_rows(facts: Facts) -> list[Fact]:
    """The facts except kind and name, one by one: those of the grid, of a volume, of segments; warnings last."""
    size, spacing = (" x ".join(f"{value:.6g}" for value in facts[key]) for key in ("size", "spacing"))
    origin = ", ".join(f"{value:.6g}" for value in facts["origin"])
    rows = [
        Fact("Size", "{0} voxels (i, j, k)", (size,)),
        Fact("Spacing", "{0} mm", (spacing,)),
        Fact("Origin", "{0} mm (LPS)", (origin,)),
        Fact("Orientation", "{0}, oblique" if facts["oblique"] else "{0}", (facts["orientation"],)),
    ]
    if "modality" in facts:
        low, high = facts["range"]
        modality, window = facts["modality"], facts["window"]
        rows += [
            Fact("Values", "{0}, {1} to {2}", (facts["type"], f"{low:.6g}", f"{high:.6g}")),
            Fact("Modality", "{0} ({1})", (modality["name"], modality["why"])),
            Fact("Window", "{0} to {1}, {2} ({3})", (*_window_values(window), window["why"])),
        ]
    rows += _segment_rows(facts.get("segments", []))
    if facts.get("axis") is not None:
        values = (str(facts["axis"]), AXIS_NAMES[facts["axis"]], facts["plane"])
        rows.append(Fact("Painted", "along axis {0} ({1}), {2} slices", values))
    return rows + [Fact("Warning", "{0}", (text,)) for text in facts.get("warnings", [])]


def facts_sentence(facts: Facts) -> Fact:
    """A volume's facts in one short line, such as “CT, 122 x 101 x 112, 3 mm, window -150..250 (abdomen)”."""
    lengths = [f"{value:.3g}" for value in facts["spacing"]]
    spacing = lengths[0] if len(set(lengths)) == 1 else " x ".join(lengths)
    size = " x ".join(map(str, facts["size"]))
    low, high, name = _window_values(facts["window"])
    return Fact(
        "", "{0}, {1}, {2} mm, window {3}..{4} ({5})", (facts["modality"]["name"], size, spacing, low, high, name)
    )


def _window_values(window: Facts) -> tuple[str, str, str]:
    return f"{window['low']:.6g}", f"{window['high']:.6g}", window["name"]


def _segment_rows(segments: Sequence[Facts]) -> list[Fact]:
    rows = []
    for number, segment in enumerate(segments[:_MOST_SEGMENTS], start=1):
        slices, label = segment["painted_slices"], f"Segment {segment.get('label_value', number)}"
        if slices:
            values, is_one = (segment["name"], str(len(slices)), _ranges(slices)), len(slices) == 1
            if unknown := segment.get("unknown_slices"):
                row = Fact(
                    label,
                    "{0}, {1} painted slice: {2}; unknown on {3}, painted for others"
                    if is_one
                    else "{0}, {1} painted slices: {2}; unknown on {3}, painted for others",
                    (*values, _ranges(unknown)),
                )
            else:
                row = Fact(label, "{0}, {1} painted slice: {2}" if is_one else "{0}, {1} painted slices: {2}", values)
            rows.append(row)
        elif "voxels" in segment:
            rows.append(Fact(label, "{0}, {1} voxels", (segment["name"], str(segment["voxels"]))))
        else:
            rows.append(Fact(label, "{0}, no painted slices", (segment["name"],)))
    left = len(segments) - len(rows)
    return [*rows, Fact("Segments", "and {0} more", (str(left),))] if left else rows


def _is_segmentation(path: Path) -> bool:
    if path.is_dir():
        files = files_in(path)
        return len(files) == 1 and _is_segmentation(files[0])
    kind = file_kind(path)
    if kind == DICOM:
        header = read_header(path)
        return header is not None and sop_class(header) in (SEGMENTATION, LABEL_MAP)
    return kind == NRRD and has_segments(read_image(path).metadata)


def _looks_like_labels(volume: Volume) -> bool:
    """Whether a volume holds few whole numbers from 0 up, mostly 0."""
    voxels = volume.voxels
    if volume.is_rgb or volume.source or voxels.dtype.kind not in "iub" or voxels.min() < 0:
        return False
    return bool(np.count_nonzero(voxels == 0) > voxels.size / 2 and len(np.unique(voxels)) <= _MOST_LABELS)


def _unknown_slices(annotation: Annotation) -> dict[tuple[str, int], list[int]]:
    """The slices, by a segment's name and label value, that are painted for others and leave it unknown."""
    found: dict[tuple[str, int], list[int]] = {}
    for index in annotation.painted:
        for label in annotation.sought(index):
            segment = annotation.segmentation.segments[label - 1]
            found.setdefault((segment.name, segment.label_value), []).append(index)
    return found


def _segment_facts(segmentation: Segmentation, number: int, axis: int | None) -> Facts:
    segment = segmentation.segments[number]
    mask = segmentation.mask(segment)
    return {
        "name": segment.name,
        "label_value": segment.label_value,
        "color": list(segment.color),
        "voxels": int(np.count_nonzero(mask)),
        "painted_slices": [] if axis is None else slices_of(mask, axis).tolist(),
    }


def _ranges(numbers: list[int]) -> str:
    """Numbers as in “3, 7-9”, shortened if there are many."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return comma_list([f"{first}" if first == last else f"{first}-{last}" for first, last in parts], 12)
