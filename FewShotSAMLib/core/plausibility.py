"""Detects implausible paint: the image as its own annotation, nothing left to predict, a slice half done."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from FewShotSAMLib.core.annotation import Annotation, comma_list
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.core.volume import Volume

_EVERYWHERE = 0.98
_MANY, _SELDOM = 20, 0.5
_FULL_RUN = 8
"""So many painted slices in a row without a gap look like a finished segmentation."""
_FAR_LESS = 0.25
_STRAY_PIXELS, _STRAY_SHARE = 3, 0.01
"""A slice with at most so many pixels of a segment, and this share of its largest slice, is a slip of the mouse."""
_HINT = "Give the volume first, then the label map or .seg.nrrd in which you painted a few slices."


def check_two_files(volume: Path, annotation: Path) -> None:
    """Raise BadInputError if volume and annotation are the same file."""
    if volume.exists() and annotation.exists() and volume.samefile(annotation):
        raise BadInputError(f"{annotation} is given both as the volume and as its annotation.", _HINT)


def check_is_paint(segmentation: Segmentation, volume: Volume) -> None:
    """Raise BadInputError if labels on the volume's grid are the volume itself, or fill all of it."""
    for layer in segmentation.layers:
        if not volume.is_rgb and all(map(np.array_equal, layer, volume.voxels)):  # usually the first slice decides
            raise BadInputError("The annotation is the volume itself.", _HINT)
        if len(segmentation.segments) > _MANY and _changes_everywhere(layer):
            what = f"{len(segmentation.segments)} label values that change from voxel to voxel"
            raise BadInputError(f"The annotation is an image, not labels: it holds {what}.", _HINT)
    if volume.geometry.size[2] > 1:
        _check_unlabelled(segmentation)


def _changes_everywhere(layer: np.ndarray) -> bool:
    """Whether most labelled voxels differ from the labelled voxel next to them, as intensities do."""
    first, second = layer[..., :-1], layer[..., 1:]
    both = (first > 0) & (second > 0)
    return bool(np.count_nonzero(both & (first == second)) < _SELDOM * np.count_nonzero(both))


def fills_volume(labelled: int, size: int) -> bool:
    """Whether labels fill a volume of `size` voxels."""
    return labelled >= _EVERYWHERE * size


def fills_volume_error() -> BadInputError:
    """The error for labels that fill the volume."""
    return BadInputError(
        "The annotation is labelled everywhere, on every slice: there is nothing to predict.",
        f"{_HINT} What belongs to no segment stays 0.",
    )


def nothing_to_predict(count: int) -> BadInputError:
    """The error for a volume whose `count` slices are all known."""
    return BadInputError(
        f"All {count} slices are painted or declared empty: there is nothing left to predict.", hint("choose-painted")
    )


def annotation_warnings(annotation: Annotation) -> list[str]:
    """The warnings that a run would give about an annotation, or the error that would end it."""
    try:
        _check_unlabelled(annotation.segmentation)
        return odd_painting(annotation)
    except BadInputError as error:
        return [error.message]


def odd_painting(annotation: Annotation) -> list[str]:
    """Warnings on painted slices that look finished or unfinished.

    Raises BadInputError if every slice of several is painted or declared empty, so that nothing is left to predict.
    """
    count = annotation.segmentation.geometry.shape[annotation.axis]
    if len(annotation.complete) == count > 1:
        raise nothing_to_predict(count)
    areas = {index: np.bincount(annotation.classes(index).ravel(), minlength=256) for index in annotation.painted}
    sought = {index: annotation.sought(index) for index in annotation.painted}
    return paint_warnings(
        annotation.painted,
        [
            SegmentPainting(
                segment.name,
                odd_slices({index: int(area[label]) for index, area in areas.items() if area[label]}),
                [index for index, labels in sought.items() if label in labels],
            )
            for label, segment in enumerate(annotation.segmentation.segments, start=1)
        ],
    )


class SegmentPainting(NamedTuple):
    """A segment with the slices on which it is odd (`odd_slices`), and those painted for others on which it is looked
    for."""

    name: str
    odd: Sequence[int]
    sought: Sequence[int]


def paint_warnings(painted: Sequence[int], segments: Sequence[SegmentPainting]) -> list[str]:
    """The warnings about painted slices, sorted, and the segments on them."""
    warnings = []
    if len(painted) >= _FULL_RUN and painted[-1] - painted[0] + 1 == len(painted):
        warnings.append(
            f"Every slice from {painted[0]} to {painted[-1]} is painted: only what lies beyond them is predicted. If "
            "this is a finished segmentation, choose a few of these slices to learn from."
        )
    warnings += [
        f"“{each.name}” is much smaller on slice {comma_list(each.odd, 5)} than on the painted slices next to it. If "
        "it is not painted completely there, complete it, or leave that slice out of those to learn from."
        for each in segments
        if each.odd
    ]
    return warnings + [
        f"“{each.name}” is not painted on slice {comma_list(each.sought, 5)}, where others are, and is predicted "
        f"there. Where there is none of it, declare the slice empty of “{each.name}”."
        for each in segments
        if each.sought
    ]


def odd_slices(areas: Mapping[int, int]) -> list[int]:
    """Slices that hold far less of a segment than both of the painted slices next to them, or hardly any of it.

    areas: the pixels of one segment on each slice on which it is painted.
    """
    held = sorted(areas.items())
    odd = {
        index
        for (_, before), (index, area), (_, after) in zip(held, held[1:], held[2:], strict=False)
        if area < _FAR_LESS * min(before, after)
    }
    most = max(areas.values(), default=0)
    return sorted(odd.union(index for index, area in held if area <= min(_STRAY_PIXELS, _STRAY_SHARE * most)))


def _check_unlabelled(segmentation: Segmentation) -> None:
    labelled = sum(int(np.count_nonzero(plane.any(axis=0))) for plane in np.moveaxis(segmentation.layers, 1, 0))
    if fills_volume(labelled, segmentation.layers[0].size):
        raise fills_volume_error()
