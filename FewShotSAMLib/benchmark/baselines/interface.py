"""What all baselines have in common: from a grey volume and a few painted slices to the classes of every voxel."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.sam.framing import Framing

Painted = Mapping[int, np.ndarray]
"""Class map (rows, columns) uint8 of each painted or empty slice: 0 background, 1..C segments, IGNORE not known."""


class Baseline(Protocol):
    """A way to segment a volume that a method has to beat."""

    def __call__(self, grey: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
        """Classes (K, J, I) uint8 of a volume (K, J, I) with values 0..1, from slices painted along the array axis.

        Painted slices come out as painted, their unknown pixels as background.
        """
        ...


class SliceSource(Protocol):
    """Embeddings of a volume's slices; the engine's `SliceEmbeddings`, which caches them, is one."""

    @property
    def framing(self) -> Framing:
        """How slices are placed in the encoder's image."""
        ...

    def slices(self, indices: Sequence[int]) -> Tensor:
        """Embeddings (n, channels, h, w), SAM's 256 channels first."""
        ...


def class_count_of(painted: Painted) -> int:
    """The highest class that is painted anywhere; 0 where none is."""
    return max((int(classes[classes != IGNORE].max(initial=0)) for classes in painted.values()), default=0)


def with_painted(classes: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
    """Put the painted slices into a class map (K, J, I), in place."""
    slices = np.moveaxis(classes, axis, 0)
    for index, known in painted.items():
        slices[index] = np.where(known == IGNORE, 0, known)
    return classes
