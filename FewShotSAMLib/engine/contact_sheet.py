"""A picture of synthesised pairs, to check before relying on them."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.core.segment import Segment
from FewShotSAMLib.methods.synthesis import LabelledSlice

TILE = 192
"""Longer side of a tile in pixels."""
COLUMNS = 6
GAP = 4
DARKENED = 0.45
"""Relative brightness of pixels that are not learned from."""


def contact_sheet(pairs: Sequence[LabelledSlice], segments: Sequence[Segment], aspect: float) -> np.ndarray:
    """(height, width, 3) uint8: one tile per pair, segments outlined in their colours, ignored pixels darkened."""
    tiles = [_tile(pair, segments, aspect) for pair in pairs]
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.zeros((rows * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // COLUMNS * (height + GAP), number % COLUMNS * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _tile(pair: LabelledSlice, segments: Sequence[Segment], aspect: float) -> np.ndarray:
    height, width = (TILE, round(TILE / aspect)) if aspect >= 1 else (round(TILE * aspect), TILE)
    rows = np.arange(max(1, height)) * pair.classes.shape[0] // max(1, height)
    columns = np.arange(max(1, width)) * pair.classes.shape[1] // max(1, width)
    grey, classes = pair.grey.numpy()[rows][:, columns], pair.classes[rows][:, columns]
    tile = np.array(grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2))
    tile[classes == IGNORE] *= DARKENED
    for label, segment in enumerate(segments, start=1):
        mask = classes == label
        tile[mask & ~ndimage.binary_erosion(mask)] = segment.color
    return (tile * 255).round().astype(np.uint8)
