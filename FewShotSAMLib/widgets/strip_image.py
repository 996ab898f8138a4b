"""The picture of the confidence strip: one column for each slice."""

from __future__ import annotations

import numpy as np

from FewShotSAMLib.workflow import Review

# Okabe and Ito's orange, through light grey, to their blue: colour-blind users can tell them apart, also in grey.
UNSURE, MIDDLE, SURE = (213, 94, 0), (228, 228, 222), (0, 114, 178)
Color = tuple[int, int, int]
_BAND = 7  # rows above the colours to mark painted and empty slices, and below to mark the next ones
_WORST = 0.5  # confidence, an expected Dice, at and below which a column is fully orange


def stripImage(review: Review, current: int | None, width: int, height: int, ink: Color, paper: Color) -> np.ndarray:
    """The strip, (height, width, 3) uint8. ink, paper: the panel's colours of text and background, light or dark.

    Above the colours, a full bar marks a painted slice and a half bar an empty one; below them, an orange bar marks
    where painting helps most. A line from top to bottom, edged in the paper colour, is the slice that is shown.
    """
    image = np.full((height, width, 3), paper, np.uint8)
    columns = columnSlices(review, width)
    origins = np.array([entry.origin for entry in review.slices])[columns]
    confidences = np.array([entry.confidence for entry in review.slices])[columns]
    image[_BAND : height - _BAND] = confidenceColors(np.where(origins == "predicted", confidences, 1.0))
    image[: _BAND - 1, origins == "painted"] = ink
    image[_BAND // 2 : _BAND - 1, origins == "empty"] = ink
    indices = np.array([entry.index for entry in review.slices])
    image[height - _BAND + 1 :, np.isin(indices[columns], review.next_slices)] = UNSURE
    if current is not None and current in indices:
        _drawCurrent(image, np.flatnonzero(indices[columns] == current), ink, paper)
    return image


def columnSlices(review: Review, width: int) -> np.ndarray:
    """The position in `review.slices` that each column shows, (width,)."""
    return np.arange(width) * len(review.slices) // width


def confidenceColors(confidences: np.ndarray) -> np.ndarray:
    """The colours (n, 3) uint8 of (n,) confidences, 0 to 1."""
    position = np.clip((confidences - _WORST) / (1 - _WORST), 0, 1)
    stops = np.array([UNSURE, MIDDLE, SURE], dtype=float)
    return np.stack([np.interp(position, (0, 0.5, 1), stops[:, i]) for i in range(3)], axis=-1).astype(np.uint8)


def _drawCurrent(image: np.ndarray, columns: np.ndarray, ink: Color, paper: Color) -> None:
    center = int(columns.mean()) if len(columns) else 0
    image[:, max(0, center - 2) : center + 3] = paper
    image[:, max(0, center - 1) : center + 2] = ink
