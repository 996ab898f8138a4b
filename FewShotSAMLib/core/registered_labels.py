"""Labels that registration transferred from an earlier volume, corrected by the slices that are painted here.

A registered label has similar errors on neighbouring slices, above all in its position. So the correction found on a
painted slice holds for those around it: the shift far along the structure, the remaining difference of the outline
only near by. All lengths in mm; slices lie along the first axis of arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from FewShotSAMLib.core.metrics import dice

FAR, NEAR = 0.6, 0.15
"""Shares of the label's extent along the axis after which 1/e of a shift, and of an outline's difference, remains."""
MOST_MOVED = 0.5
"""Share of the radius on the painted slice: how far an outline follows the paint, once the label was moved."""
TRUSTED = 0.5
"""Minimum Dice with the paint for a registered label to be used."""
INSETS = (0.05, 0.275, 0.725, 0.95)
"""Shares of the extent along the axis at which a registered label may stand in for a painted slice: with the middle
painted, as far apart as five painted slices would be."""
LEAST_WAY, LEAST_GAP = 0.15, 0.5
"""Shares of the extent: it does so if every painted slice is further away than the first and than the structure's
radius, and not between two painted slices closer together than the second."""
BEYOND = 0.02
"""Share of the extent, at least a slice, beyond the label's ends at which there is nothing of it."""
HALF = 128
"""Of 255: the minimum share with which a voxel belongs to a registered label."""


@dataclass(frozen=True)
class PaintedMasks:
    """What is painted of a segment: masks (H, W) bool by slice, blank ones if it was declared to be absent."""

    masks: Mapping[int, np.ndarray]

    @property
    def painted(self) -> list[int]:
        """Slices that show it, ascending."""
        return sorted(index for index, mask in self.masks.items() if mask.any())


def agreement(shares: np.ndarray, known: PaintedMasks) -> float:
    """Dice of a registered label, shares (D, H, W) of 255, and the paint, over the slices on which it is known;
    0 if neither shows anything."""
    found = np.stack([shares[index] >= HALF for index in known.masks])
    given = np.stack(list(known.masks.values()))
    return dice(found, given) if found.any() or given.any() else 0.0


def corrected_label(shares: np.ndarray, known: PaintedMasks, spacing: Sequence[float]) -> np.ndarray:
    """Correct a registered label's shares (D, H, W) in 0..1 so that it agrees with the paint; spacing in mm along
    (D, H, W)."""
    plane = np.asarray(spacing[1:])
    distances = np.stack([_distance(share >= 0.5, plane) for share in shares])
    held = np.flatnonzero((shares >= 0.5).any(axis=(1, 2)))
    if not len(held) or not known.painted:
        return shares
    extent = float(held[-1] - held[0] + 1) * spacing[0]
    shifts = {index: _shift(shares[index] >= 0.5, known.masks[index]) for index in known.painted}
    for index, along in enumerate(_spread(shifts, len(shares), spacing[0] / (FAR * extent))):
        if np.abs(along).max() > 1e-3:
            distances[index] = ndimage.shift(distances[index], along, order=1, mode="nearest")
    most = MOST_MOVED * _radius(known, spacing)
    rest = {i: np.clip(_distance(mask, plane) - distances[i], -most, most) for i, mask in known.masks.items()}
    distances += np.stack(list(_spread(rest, len(shares), spacing[0] / (NEAR * extent), fades=True)))
    return np.clip(distances / plane.mean() + 0.5, 0, 1).astype(np.float32)


def stand_in_slices(share: np.ndarray, known: PaintedMasks, spacing: Sequence[float]) -> tuple[list[int], list[int]]:
    """The slices on which a label, shares (D, H, W) in 0..1, is to stand in for paint, and those beyond its ends on
    which there is nothing of it; only slices too far from known ones. spacing as for `corrected_label`."""
    held = np.flatnonzero((share >= 0.5).any(axis=(1, 2)))
    painted = known.painted
    if not len(held) or not painted:
        return [], []
    first, last = min(int(held[0]), painted[0]), max(int(held[-1]), painted[-1])
    extent = last - first + 1
    way = max(LEAST_WAY * extent, _radius(known, spacing) / spacing[0])
    wanted = dict.fromkeys(round(first + inset * (extent - 1)) for inset in INSETS)
    shown = [i for i in wanted if share[i].max() >= 0.5 and _is_far(i, known, way)]
    kept = [i for i in shown if not any(a < i < b and b - a < LEAST_GAP * extent for a, b in pairwise(painted))]
    beyond = max(1, round(BEYOND * extent))
    absent = [i for i in known.masks if i not in painted]
    is_open = [all(i > painted[0] for i in absent), all(i < painted[-1] for i in absent)]
    ends = [end for end, is_it in zip((first - beyond, last + beyond), is_open, strict=True) if is_it]
    return kept, [i for i in ends if 0 <= i < len(share) and min(abs(i - p) for p in painted) > LEAST_WAY * extent]


def _radius(known: PaintedMasks, spacing: Sequence[float]) -> float:
    """Radius of a disc with the area of the largest painted slice, mm."""
    largest = max(int(known.masks[index].sum()) for index in known.painted)
    return float(np.sqrt(largest * spacing[1] * spacing[2] / np.pi))


def _is_far(index: int, known: PaintedMasks, way: float) -> bool:
    """Whether a slice lies within the known ends, and more than `way` slices from every painted one."""
    empty = [each for each in known.masks if each not in known.painted]
    if any(index >= each for each in empty if each > known.painted[-1]):
        return False
    if any(index <= each for each in empty if each < known.painted[0]):
        return False
    return index not in known.masks and all(abs(index - each) > way for each in known.painted)


def _shift(found: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Pixels from a mask's centre to that of the paint; 0 if the mask is empty."""
    if not found.any():
        return np.zeros(2)
    return np.argwhere(painted).mean(axis=0) - np.argwhere(found).mean(axis=0)


def _spread(given: Mapping[int, np.ndarray], depth: int, fading: float, fades: bool = False) -> list[np.ndarray]:
    """Extend what is given on some slices to all: interpolated between two of them, fading with the distance to each
    if `fades`; beyond the outermost it fades by e every 1/fading slices."""
    indices = sorted(given)
    spread = []
    for index in range(depth):
        below = max((i for i in indices if i <= index), default=None)
        above = min((i for i in indices if i >= index), default=None)
        if below is None or above is None or below == above:
            nearest = above if below is None else below
            assert nearest is not None
            spread.append(given[nearest] * np.exp(-abs(index - nearest) * fading))
            continue
        share = (index - below) / (above - below)
        weights = [1 - share, share]
        if fades:
            weights = [w * np.exp(-abs(index - i) * fading) for w, i in zip(weights, (below, above), strict=True)]
        spread.append(weights[0] * given[below] + weights[1] * given[above])
    return spread


def _distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Signed distance in mm to the border of a mask (H, W), positive inside; far outside if it is blank."""
    if not mask.any():
        return np.full(mask.shape, -float(np.hypot(*(spacing * mask.shape))), np.float32)
    inside, outside = (ndimage.distance_transform_edt(part, sampling=spacing) for part in (mask, ~mask))
    distance: np.ndarray = inside - outside
    return (distance - np.sign(distance) * spacing.mean() / 2).astype(np.float32)
