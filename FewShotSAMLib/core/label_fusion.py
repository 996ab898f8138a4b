"""Fuses the labels that several atlases transferred to one volume: each counts by how well its image fits there.

Source: local weighted voting (Artaechevarria et al., 2009).
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from FewShotSAMLib.core.atlas import Transferred

WITHIN_MM = 2.0
"""Standard deviation of the neighbourhood in which two images are compared; at least a voxel."""
SHARPNESS = 4
"""An atlas is weighted by this power of the local correlation."""
LEAST = 0.01
"""Minimum correlation of an atlas, so that all count alike where none fits."""


def fused_labels(found: Sequence[Transferred], grey: np.ndarray, spacing: Sequence[float]) -> Transferred:
    """One result from several registered atlases, each with its image; its likeness is that of the most alike one. On
    a segment only those atlases vote that have it.

    grey: the volume (K, J, I) uint8 through their window; spacing: mm along its axes.
    """
    best = max(found, key=lambda each: each.likeness)
    if len(found) == 1 or not any(each.shares.any() for each in found):
        return best
    sigma = [max(1.0, WITHIN_MM / mm) for mm in spacing]
    held = np.logical_or.reduce([each.shares.any(axis=0) for each in found])
    box = tuple(
        slice(max(0, part.start - round(3 * width)), part.stop + round(3 * width))
        for part, width in zip(ndimage.find_objects(held.astype(np.uint8))[0], sigma, strict=True)
    )
    weights = [_fit(_grey(each)[box], grey[box], sigma) ** SHARPNESS for each in found]
    shares = np.zeros_like(best.shares)
    for label, share in enumerate(shares):
        own = [(weight, each.shares[label]) for weight, each in zip(weights, found, strict=True)]
        voting = [(weight, theirs[box]) for weight, theirs in own if theirs.any()]
        if voting:
            total = sum(weight * theirs for weight, theirs in voting)
            share[box] = np.rint(total / sum(weight for weight, _ in voting))
    return Transferred(shares, best.likeness, best.scale)


def _grey(found: Transferred) -> np.ndarray:
    assert found.grey is not None, "registered with its image"
    return found.grey


def _fit(first: np.ndarray, second: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    """Correlation of two images around each voxel, float32, at least LEAST."""
    ours, theirs = first.astype(np.float32), second.astype(np.float32)
    mean, other = _around(ours, sigma), _around(theirs, sigma)
    spread = np.maximum(_around(ours**2, sigma) - mean**2, 1) * np.maximum(_around(theirs**2, sigma) - other**2, 1)
    return np.clip((_around(ours * theirs, sigma) - mean * other) / np.sqrt(spread), LEAST, 1)


def _around(values: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(values, sigma, truncate=3)
    return smooth
