"""What all baselines have in common: from a grey volume and a few painted slices to the classes of every voxel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.framing import Framing, whole_slice

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


MakeSource = Callable[[np.ndarray, int], SliceSource]
"""Makes the source of a volume (K, J, I) and an axis."""


class EncodedVolume:
    """Embeddings straight from the encoder, one slice at a time; spacing in mm along k, j, i."""

    def __init__(
        self, encoder: Encoder, grey: np.ndarray, axis: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> None:
        rows, columns = (other for other in range(3) if other != axis)
        shape, sides = (grey.shape[rows], grey.shape[columns]), (spacing[rows], spacing[columns])
        plane = SlicePlane(axis, "as stored", False, False, False, shape, sides)
        self.framing = whole_slice(plane, encoder.image_size)
        self._encoder, self._slices = encoder, np.moveaxis(grey, axis, 0)

    def slices(self, indices: Sequence[int]) -> Tensor:
        """Embeddings (n, 256, h, w), float32."""
        grey = [torch.from_numpy(np.ascontiguousarray(self._slices[index], dtype=np.float32)) for index in indices]
        return torch.cat([self._encoder.encode(self.framing.image(one)[None]) for one in grey])


def encoded_by(encoder: Encoder, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> MakeSource:
    """Encodes each volume with this encoder."""
    return lambda grey, axis: EncodedVolume(encoder, grey, axis, spacing)


def class_count_of(painted: Painted) -> int:
    """The highest class that is painted anywhere; 0 where none is."""
    return max((int(classes[classes != IGNORE].max(initial=0)) for classes in painted.values()), default=0)


def with_painted(classes: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
    """Put the painted slices into a class map (K, J, I), in place."""
    slices = np.moveaxis(classes, axis, 0)
    for index, known in painted.items():
        slices[index] = np.where(known == IGNORE, 0, known)
    return classes
