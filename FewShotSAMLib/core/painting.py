"""Stands in for a user in tests, demo and benchmark: paints a few slices from a finished segmentation."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from FewShotSAMLib.core.geometry import slices_of
from FewShotSAMLib.core.segmentation import Segmentation

INSET = 0.05
"""Share of a structure's extent by which the first and the last painted slice lie inside it."""


def slices_to_paint(mask: np.ndarray, axis: int, count: int) -> list[int]:
    """`count` slices spread evenly over the extent of the mask (K, J, I), the outer two inset by 5 %.

    A single one is the middle; fewer are returned if the structure has fewer slices.
    """
    held = slices_of(mask, axis)
    if len(held) <= count:
        return [int(index) for index in held]
    first, last = int(held[0]), int(held[-1])
    inset = (last - first) * INSET
    wanted = [(first + last) / 2] if count == 1 else np.linspace(first + inset, last - inset, count)
    return sorted({int(held[np.abs(held - position).argmin()]) for position in wanted})


def empty_neighbours(mask: np.ndarray, axis: int) -> list[int]:
    """The first slice beyond each end of the mask (K, J, I), as far as the volume has one."""
    held = slices_of(mask, axis)
    return [int(index) for index in (held[0] - 1, held[-1] + 1) if 0 <= index < mask.shape[axis]]


def keep_slices(truth: Segmentation, axis: int, painted: Iterable[int], names: Sequence[str]) -> Segmentation:
    """What a user would have painted: the named segments, complete on the painted slices and absent elsewhere."""
    segments = tuple(segment for segment in truth.segments if segment.name in names)
    layers = np.zeros_like(truth.layers)
    for index in painted:
        here = (slice(None),) * axis + (index,)
        for segment in segments:
            drawn = truth.layers[segment.layer][here] == segment.label_value
            layers[segment.layer][here][drawn] = segment.label_value
    return replace(truth, layers=layers, segments=segments)
