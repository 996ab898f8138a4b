"""Finds the axis along which slices were painted, and detects slices painted along two axes."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import slices_of

AXIS_NAMES = ("k", "j", "i")
_CLEAR = 0.5  # a number at most half as large as another is clearly smaller
_FEW_LINES = 0.75  # of the labelled rows or columns; fewer lines do not cover a compact structure


def find_painted_axis(occupied: np.ndarray, spacing_kji: tuple[float, float, float]) -> tuple[int, list[str]]:
    """The axis along which labels come in the shortest runs, as single slices among unpainted ones do; and warnings.

    occupied: (K, J, I) bool with at least one labelled voxel. If the labels form a solid block, the axis of the
    largest spacing is taken, along which volumes are scanned and usually painted.
    """
    cropped = _cropped(occupied)
    single = [axis for axis in range(3) if cropped.shape[axis] == 1 and occupied.shape[axis] > 1]
    if len(single) == 1:
        return single[0], []
    if not single:
        runs = [_mean_run(cropped, axis) for axis in range(3)]
        best, second, _ = sorted(range(3), key=runs.__getitem__)
        if runs[best] <= _CLEAR * runs[second] or runs[best] == 1 < runs[second]:
            return best, []
    candidates = single or range(3)
    axis = max(candidates, key=lambda axis: spacing_kji[axis])
    warning = f"The labels do not show along which axis they were painted; took axis {axis} ({AXIS_NAMES[axis]})."
    return axis, [f"{warning} If that is wrong, give the axis or the painted slices."]


def check_one_axis(occupied: np.ndarray) -> None:
    """Raise BadInputError if slices along two or three axes are painted.

    Seen along the third axis, slices of axes a and b are rows and columns, and a few of them cover all labels although
    labels lie in many rows and many columns. The fewest lines that cover a set of points are as many as the largest
    matching (König 1931). A compact structure needs about as many lines as it has rows or columns; one of thin arms
    does not, so what the rows leave uncovered must also look like slices of axis b, and the other way round.
    """
    cropped = _cropped(occupied)
    for axis, other, third in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        labels = np.moveaxis(_without_sheets(cropped, third), (axis, other, third), (0, 1, 2))
        projected = np.asarray(labels.any(axis=2))
        rows, columns = _cover(projected)
        labelled = min(np.count_nonzero(projected.any(axis=1)), np.count_nonzero(projected.any(axis=0)))
        if not (rows.any() and columns.any() and rows.sum() + columns.sum() <= _FEW_LINES * labelled):
            continue
        if _is_across(labels[:, ~columns], 0, 1) and _is_across(labels[~rows], 1, 0):
            counts = f"{rows.sum()} along axis {axis} and {columns.sum()} along axis {other}"
            raise BadInputError(
                f"The annotation is painted along two axes: slices seem to be {counts}.",
                "Keep the painted slices of one axis, or name the painted slices to use.",
            )


def _cropped(occupied: np.ndarray) -> np.ndarray:
    labelled = [slices_of(occupied, axis) for axis in range(3)]
    return occupied[tuple(slice(int(held[0]), int(held[-1]) + 1) for held in labelled)]


def _mean_run(labels: np.ndarray, axis: int) -> float:
    """Mean length in pixels of the unbroken runs of labels along an axis; 0 without labels."""
    ahead = np.moveaxis(labels, axis, 0)
    starts = np.count_nonzero(ahead[0]) + np.count_nonzero(ahead[1:] & ~ahead[:-1])
    return np.count_nonzero(labels) / starts if starts else 0.0


def _is_across(labels: np.ndarray, axis: int, other: int) -> bool:
    """Whether labels (rows, columns, depth) are slices across an axis: thin along it, extended along both others."""
    thickness = _mean_run(labels, axis)
    return 0 < thickness <= _CLEAR * min(_mean_run(labels, other), _mean_run(labels, 2))


def _without_sheets(occupied: np.ndarray, axis: int) -> np.ndarray:
    """The labels without those painted on slices along `axis` alone, which would fill the view along this axis."""
    thin = _thin(occupied, axis)
    if not thin.any():
        return occupied
    for other in range(3):
        if other != axis:
            thin &= ~_thin(occupied, other)
    return occupied & ~thin


def _thin(occupied: np.ndarray, axis: int) -> np.ndarray:
    """Labels in runs of one or two voxels along an axis."""
    ahead = np.moveaxis(occupied, axis, 0)
    in_long_run = np.zeros_like(ahead)
    middle = ahead[:-2] & ahead[1:-1] & ahead[2:]
    for shift in range(3):
        in_long_run[shift : len(ahead) - 2 + shift] |= middle
    return np.moveaxis(ahead & ~in_long_run, 0, axis)


def _cover(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fewest rows and columns (bool each) that cover all points (rows, columns) bool, by König's construction."""
    column_of_row = maximum_bipartite_matching(csr_array(points), perm_type="column")
    row_of_column = np.full(points.shape[1], -1)
    matched = np.flatnonzero(column_of_row >= 0)
    row_of_column[column_of_row[matched]] = matched
    reached_rows = points.any(axis=1) & (column_of_row < 0)
    reached_columns = np.zeros(points.shape[1], bool)
    while True:
        columns = points[reached_rows].any(axis=0) & ~reached_columns
        if not columns.any():
            return points.any(axis=1) & ~reached_rows, reached_columns
        reached_columns |= columns
        reached_rows[row_of_column[columns]] = True
