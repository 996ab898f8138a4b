"""The interface of all baselines: from a grey volume and a few painted slices to the class of every voxel."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.sam.framing import Framing

Painted = Mapping[int, np.ndarray]
"""Class map (rows, columns) uint8 of each painted or empty slice: 0 background, 1..C segments, IGNORE unknown."""


class Baseline(Protocol):
    """A way to segment a volume that a method has to beat."""

    def __call__(self, grey: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
        """Return classes (K, J, I) uint8 of a volume (K, J, I) with values 0..1, given slices painted along an axis.

        Painted slices are returned as painted, their unknown pixels as background.
        """
        ...


class SliceSource(Protocol):
    """Embeddings of a volume's slices, such as the engine's `SliceEmbeddings`, which caches them."""

    @property
    def framing(self) -> Framing:
        """How slices are placed in the encoder's image."""
        ...

    def slices(self, indices: Sequence[int]) -> Tensor:
        """Return embeddings (n, channels, h, w), SAM's 256 channels first."""
        ...


def class_count_of(painted: Painted) -> int:
    """Return the highest class painted anywhere; 0 if none is."""
    return max((int(classes[classes != IGNORE].max(initial=0)) for classes in painted.values()), default=0)


def with_painted(classes: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
    """Copy the painted slices into a class map (K, J, I), in place, and return it."""
    slices = np.moveaxis(classes, axis, 0)
    for index, known in painted.items():
        slices[index] = np.where(known == IGNORE, 0, known)
    return classes
