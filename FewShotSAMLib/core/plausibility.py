"""Notices paint that cannot be meant: the image as its own annotation, nothing left to predict, a slice half done."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.core.volume import Volume

_EVERYWHERE = 0.98
_FULL_RUN = 8
"""Painted slices in a row without a gap from which on the paint looks like a finished segmentation."""
_FAR_LESS = 0.25
_STRAY_PIXELS, _STRAY_SHARE = 3, 0.01
"""No more pixels of a segment than these, nor than this share of its largest slice, are a slip of the mouse."""
_HINT = "Give the volume first, then the label map or .seg.nrrd in which you painted a few slices."


def check_two_files(volume: Path, annotation: Path) -> None:
    """Raise BadInputError where volume and annotation are the same file."""
    if volume.exists() and annotation.exists() and volume.samefile(annotation):
        raise BadInputError(f"{annotation} is given both as the volume and as its annotation.", _HINT)


def check_is_paint(segmentation: Segmentation, volume: Volume) -> None:
    """Raise BadInputError where labels on the volume's grid are the volume itself, or fill all of it."""
    for layer in segmentation.layers:
        if not volume.is_rgb and np.array_equal(layer, volume.voxels):
            raise BadInputError("The annotation is the volume itself.", _HINT)
    labelled = sum(int(np.count_nonzero(plane.any(axis=0))) for plane in np.moveaxis(segmentation.layers, 1, 0))
    if labelled >= _EVERYWHERE * segmentation.layers[0].size and volume.geometry.size[2] > 1:
        raise BadInputError(
            "The annotation is labelled everywhere, on every slice: there is nothing to predict.",
            f"{_HINT} What belongs to no segment stays 0.",
        )


def odd_paint(annotation: Annotation) -> list[str]:
    """Warnings on painted slices that look finished or unfinished.

    Raises BadInputError where every slice of several is painted or declared empty, so that nothing is left to predict.
    """
    count = annotation.segmentation.geometry.shape[annotation.axis]
    if len(annotation.complete) == count > 1:
        raise BadInputError(
            f"All {count} slices are painted or declared empty: there is nothing left to predict.",
            hint("choose-painted"),
        )
    painted = annotation.painted
    warnings = []
    if len(painted) >= _FULL_RUN and painted[-1] - painted[0] + 1 == len(painted):
        warnings.append(
            f"Every slice from {painted[0]} to {painted[-1]} is painted: only what lies beyond them is predicted. If "
            "this is a finished segmentation, choose a few of these slices to learn from."
        )
    return warnings + _half_done(annotation) + _painted_for_others(annotation)


def odd_slices(areas: Mapping[int, int]) -> list[int]:
    """Slices that hold far less of a segment than both of the painted slices beside them, or next to nothing of it.

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


def _half_done(annotation: Annotation) -> list[str]:
    """Slices that are odd, for each segment."""
    warnings = []
    areas = {index: np.bincount(annotation.classes(index).ravel(), minlength=256) for index in annotation.painted}
    for label, segment in enumerate(annotation.segmentation.segments, start=1):
        odd = odd_slices({index: int(area[label]) for index, area in areas.items() if area[label]})
        if odd:
            warnings.append(
                f"“{segment.name}” is much smaller on slice {_listed(odd)} than on the painted slices beside it. If it "
                "is not painted completely there, complete it, or leave that slice out of those to learn from."
            )
    return warnings


def _painted_for_others(annotation: Annotation) -> list[str]:
    """Slices painted for some segments on which others have to be looked for."""
    sought = {index: annotation.sought(index) for index in annotation.painted}
    warnings = []
    for label, segment in enumerate(annotation.segmentation.segments, start=1):
        if slices := [index for index, labels in sought.items() if label in labels]:
            warnings.append(
                f"“{segment.name}” is not painted on slice {_listed(slices)}, where others are, and is looked for "
                f"there. Where there is none of it, declare the slice empty of “{segment.name}”."
            )
    return warnings


def _listed(slices: list[int], most: int = 5) -> str:
    return ", ".join(map(str, slices[:most])) + (", ..." if len(slices) > most else "")
