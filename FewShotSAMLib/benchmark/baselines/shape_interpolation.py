"""Shapes between painted slices, from the painted outlines alone: signed distances, interpolated along the axis."""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from FewShotSAMLib.benchmark.baselines.interface import Painted, class_count_of


def interpolate_shapes(painted: Painted, count: int, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return classes (count, rows, columns) uint8 of all slices of a volume; spacing in mm along rows and columns.

    Between two neighbouring painted slices each class's signed distance is interpolated linearly. A class absent from
    one of them ends half way; before the first and after the last painted slice there is nothing. Where classes
    overlap, the one with the largest distance wins. Source: Raya and Udupa, Shape-based interpolation of
    multidimensional objects, 1990.
    """
    indices = sorted(painted)
    shape = painted[indices[0]].shape
    result = np.zeros((count, *shape), np.uint8)
    depth = np.zeros((count, *shape), np.float32)
    for label in range(1, class_count_of(painted) + 1):
        distances = {index: _signed_distance(painted[index] == label, spacing) for index in indices}
        for first, last in pairwise(indices):
            start, end = _completed(distances[first], distances[last])
            if start is None or end is None:
                continue
            for index in range(first + 1, last):
                part = (index - first) / (last - first)
                distance = (1 - part) * start + part * end
                inside = distance > depth[index]
                result[index][inside] = label
                depth[index][inside] = distance[inside]
    for index in indices:
        result[index] = np.where(painted[index] <= class_count_of(painted), painted[index], 0)
    return result


def _signed_distance(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray | None:
    """Return mm to the border, positive inside; None for an empty mask."""
    if not mask.any():
        return None
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded, spacing)
    outside = ndimage.distance_transform_edt(~padded, spacing)
    return np.asarray(inside - outside, np.float32)[1:-1, 1:-1]


def _completed(first: np.ndarray | None, last: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Return both distances; for an absent class, minus the other slice's largest distance everywhere."""
    if first is not None:
        return first, np.full_like(first, -first.max()) if last is None else last
    if last is not None:
        return np.full_like(last, -last.max()), last
    return None, None
