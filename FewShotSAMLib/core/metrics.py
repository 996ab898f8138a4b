"""Agreement of two masks: Dice, HD95 and ASSD.

Definitions as in L. Maier-Hein, A. Reinke and others, Metrics reloaded (Nature Methods 2024,
doi 10.1038/s41592-023-02151-z). The border of a mask is its voxels that have a face neighbour outside it; voxels
beyond the edge of the array count as outside. Distances are in mm between centres of border voxels.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

_PERCENT = 95


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Twice the overlap over the sum of the sizes, 0 to 1; 1 if both masks are empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * int(np.count_nonzero(np.logical_and(first, second))) / total if total else 1.0


def hd95(first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...], where: np.ndarray | None = None) -> float:
    """95th percentile of the border distances in mm, the larger of both directions; spacing in the arrays' order.

    0 if both masks are empty, infinite if one is. `where`: as in `border_distances`.
    """
    distances = [each for each in border_distances(first, second, spacing, where) if each.size]
    if any(np.isinf(each).any() for each in distances):
        return float("inf")
    return max((float(np.percentile(each, _PERCENT)) for each in distances), default=0.0)


def assd(first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...], where: np.ndarray | None = None) -> float:
    """Mean of the border distances in mm over the border voxels of both masks; spacing in the arrays' order.

    0 if both masks are empty, infinite if one is. `where`: as in `border_distances`.
    """
    distances = np.concatenate(border_distances(first, second, spacing, where))
    return float(distances.mean()) if distances.size else 0.0


def border_distances(
    first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...], where: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each border voxel of the first mask the distance in mm to the second's border, and the other way round.

    Without a border voxel in the other mask all distances are infinite. `where`, a mask of the same shape (or one
    that broadcasts to it), leaves out the distances of border voxels elsewhere; they can still be nearest to others.
    """
    points, others = _border(first), _border(second)
    scale = np.asarray(spacing)
    return (
        _nearest(_within(points, first.shape, where) * scale, others * scale),
        _nearest(_within(others, first.shape, where) * scale, points * scale),
    )


def _border(mask: np.ndarray) -> np.ndarray:
    """Indices of the border voxels of a mask, (n, dimensions)."""
    box = ndimage.find_objects(np.asarray(mask, bool).view(np.uint8))
    if not box:
        return np.empty((0, mask.ndim), int)
    inside = np.asarray(mask[box[0]], bool)
    corner = np.array([part.start for part in box[0]])
    return np.argwhere(inside & ~ndimage.binary_erosion(inside)) + corner


def _within(points: np.ndarray, shape: tuple[int, ...], where: np.ndarray | None) -> np.ndarray:
    return points if where is None else points[np.broadcast_to(where, shape)[tuple(points.T)]]


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    if not len(others):
        return np.full(len(points), np.inf)
    distances, _ = cKDTree(others).query(points)
    return np.asarray(distances)
