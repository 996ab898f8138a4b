"""Optional clean-up of a result: largest island, hole filling, smoothing. Everything is off unless asked for."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_SIGMAS = 3.0  # a Gaussian is cut off at this many standard deviations


@dataclass(frozen=True)
class PostProcessing:
    """What to do with each segment of a result; smooth_mm: standard deviation of the Gaussian in mm, 0 for none."""

    largest_island: bool = False
    fill_holes: bool = False
    smooth_mm: float = 0.0


def largest_island(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (voxels connect by their faces), bool; of equal ones the first."""
    islands, count = ndimage.label(mask)
    if count < 2:
        return mask.astype(bool)
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    return np.asarray(islands == sizes.argmax())


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask without holes: cavities closed on all sides in 3D."""
    return np.asarray(ndimage.binary_fill_holes(mask))


def smooth(
    mask: np.ndarray, spacing: tuple[float, ...], sigma_mm: float, others: np.ndarray | None = None
) -> np.ndarray:
    """The mask after a Gaussian of `sigma_mm`, cut at one half; spacing in mm in the order of the array.

    Voxels of `others` are ignored: where the mask touches them its border stays, instead of a gap opening at the seam.
    """
    sigmas = [sigma_mm / length for length in spacing]
    free = np.ones(mask.shape, np.float32) if others is None else (~others).astype(np.float32)
    inside = ndimage.gaussian_filter(mask.astype(np.float32), sigmas, truncate=_SIGMAS, mode="nearest")
    weight = ndimage.gaussian_filter(free, sigmas, truncate=_SIGMAS, mode="nearest")
    return np.asarray((inside > 0.5 * weight) & (free > 0))


def apply(classes: np.ndarray, options: PostProcessing, spacing: tuple[float, float, float]) -> np.ndarray:
    """A class map (K, J, I), 0 background, with each class cleaned up; spacing in mm along (k, j, i).

    A class gains voxels only from the background and loses them only to it, never to another class.
    """
    if options == PostProcessing():
        return classes
    cleaned = classes.copy()
    margins = [int(np.ceil(_SIGMAS * options.smooth_mm / length)) + 1 for length in spacing]
    for number, box in enumerate(ndimage.find_objects(classes), start=1):
        if box is None:
            continue
        region = cleaned[tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margins, strict=True))]
        mask = _clean(region == number, (region != number) & (region > 0), options, spacing)
        region[(region == number) & ~mask] = 0
        region[mask & (region == 0)] = number
    return cleaned


def _clean(
    mask: np.ndarray, others: np.ndarray, options: PostProcessing, spacing: tuple[float, float, float]
) -> np.ndarray:
    """Clean one class; smoothing comes first, as it may open holes and break off islands."""
    if options.smooth_mm > 0:
        mask = smooth(mask, spacing, options.smooth_mm, others)
    if options.fill_holes:
        mask = fill_holes(mask) & ~others
    if options.largest_island:
        mask = largest_island(mask)
    return mask
