"""Notices paint that cannot be meant: the image as its own annotation, nothing left to predict, a slice half done."""

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
    if len(annotation.exemplars) == count > 1:
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
    return warnings + _half_done(annotation)


def _half_done(annotation: Annotation) -> list[str]:
    """Slices that hold far less of a segment than both of the painted slices beside them."""
    warnings = []
    areas = {index: np.bincount(annotation.classes(index).ravel(), minlength=256) for index in annotation.painted}
    for label, segment in enumerate(annotation.segmentation.segments, start=1):
        held = [(index, int(area[label])) for index, area in areas.items() if area[label]]
        odd = [
            index
            for (_, before), (index, area), (_, after) in zip(held, held[1:], held[2:], strict=False)
            if area < _FAR_LESS * min(before, after)
        ]
        if odd:
            slices = ", ".join(map(str, odd[:5]))
            warnings.append(
                f"“{segment.name}” is much smaller on slice {slices} than on the painted slices beside it. If it is "
                "not painted completely there, complete it, or leave that slice out of those to learn from."
            )
    return warnings
