"""Patients for whom a single painted slice is not enough.

A column is as bright beyond the ends of the structure as within; only its surroundings show the ends, as with a vessel.
"""

import numpy as np

SHAPE = (24, 40, 44)
ENDS = (7, 16)
"""First and last slice of the first patient's structure."""
PAINTED, EMPTY = (7, 12, 16), (6, 17)
"""Slices that show all of it, and those beyond its ends."""
SHIFT, ONLY = 2, 12
"""How far the next patient's lies from it along two axes, and the slice that is painted of it."""


def patient(shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A volume (K, J, I) int16 and its structure, bool; another shift is another patient, with different noise."""
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    held = (k >= ENDS[0] + shift) & (k <= ENDS[1] + shift)
    column = (j - 20) ** 2 + (i - 20 - shift) ** 2 < 36
    noise = np.random.default_rng(shift).normal(0, 15, SHAPE)
    return (np.where(column, 300, 150 * held) + noise).astype(np.int16), held & column


def unpainted(volume: np.ndarray) -> np.ndarray:
    """The slices of the next patient that are not painted."""
    return np.delete(volume, ONLY, axis=0)
