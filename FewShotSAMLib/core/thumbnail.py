"""Slices as small pictures: square pixels, segments in their colours over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OVERLAY = 0.5
"""Share of a segment's colour in a pixel of it."""


def thumbnail_samples(
    shape: tuple[int, int], spacing: tuple[float, float], longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows and columns of a slice to show, so that a millimetre is equally long both ways and the longer side has
    `longest` pixels."""
    lengths = np.multiply(shape, spacing)
    sizes = np.maximum(1, np.round(longest * lengths / lengths.max())).astype(int)
    rows, columns = (
        np.minimum((np.arange(size) + 0.5) * count / size, count - 1).astype(int)
        for size, count in zip(sizes, shape, strict=True)
    )
    return rows, columns


def lay_over(picture: np.ndarray, mask: np.ndarray, color: Sequence[float]) -> None:
    """Colour a picture (rows, columns, 3), 0 to 255, where the mask is; color: 0 to 1."""
    picture[mask] = (1 - OVERLAY) * picture[mask] + OVERLAY * 255.0 * np.asarray(color)
