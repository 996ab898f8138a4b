"""The colours of confidence in the panel and the browser app: from unsure to sure."""

from __future__ import annotations

import numpy as np

# Okabe and Ito's orange, through light grey, to their blue: colour-blind users can tell them apart, also in grey.
UNSURE, MIDDLE, SURE = (213, 94, 0), (228, 228, 222), (0, 114, 178)
WORST = 0.5
"""Confidence, an expected Dice, at and below which the colour is fully orange."""


def confidence_colors(confidences: np.ndarray) -> np.ndarray:
    """The colours (n, 3) uint8 of (n,) confidences, 0 to 1."""
    position = np.clip((confidences - WORST) / (1 - WORST), 0, 1)
    stops = np.array([UNSURE, MIDDLE, SURE], dtype=float)
    return np.stack([np.interp(position, (0, 0.5, 1), stops[:, i]) for i in range(3)], axis=-1).astype(np.uint8)
