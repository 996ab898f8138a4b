"""Decides, layer by layer, whether an encoder can run in 8-bit integers, and checks a fast encoder against float32.

Trained vision transformers have a few channels with very large activations, so the accuracy of integers is always
checked. Every linear layer is measured on one fixed synthetic slice (the same on every machine, so that the choice, and
with it every embedding, is reproducible) and gets the fastest form whose error is small; the whole is then checked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from FewShotSAMLib.sam.fast.linear import FLOAT, INT8, INT8_SPLIT, LayerErrors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from FewShotSAMLib.sam.family import FastNetwork

REQUIRED_COSINE = 0.999
"""Minimum cosine similarity of a slice's embedding to the float32 one."""
_CALIBRATED_COSINE = 0.9995
"""Required on the synthetic slice, as real slices may be somewhat worse."""
_TOLERANCES = (0.03, 0.015, 0.0075)
"""Tolerated relative errors of one layer's output, tried in this order: the fastest first."""


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine similarity of two embeddings as flat vectors, in double precision; NaN if one is not finite."""
    return float(F.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def synthetic_slice(size: int) -> Tensor:
    """A CT-like slice (3, size, size), 0..255: a body of soft tissue, organs, bone, air and noise, on black."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1.0, 1.0, size)
    y, x = axis[:, None], axis[None, :]
    image = torch.zeros(size, size)
    # (row, column, half height, half width, intensity), later ones over earlier ones
    ellipses = [(0.0, 0.0, 0.7, 0.92, 90.0), (0.0, 0.0, 0.63, 0.85, 140.0), (-0.1, -0.4, 0.35, 0.33, 175.0)]
    ellipses += [(0.1, 0.5, 0.2, 0.16, 190.0), (0.42, 0.0, 0.12, 0.12, 250.0), (-0.25, 0.2, 0.15, 0.2, 15.0)]
    for row, column, height, width, value in ellipses:
        image[((y - row) / height) ** 2 + ((x - column) / width) ** 2 < 1] = value
    noise = torch.rand(size, size, generator=generator) - 0.5
    return (image + 40.0 * noise * (image > 0)).clamp_(0, 255).expand(3, -1, -1)


def calibrate(network: FastNetwork, image: Tensor, check: Callable[[], None] | None = None) -> float:
    """Set every linear layer's mode from its errors on `image` (3, S, S), normalised; returns the cosine reached.

    Costs one float32 pass and one to three fast ones. If no tolerance suffices, all layers stay in float32 (1.0).
    """
    with _measuring(network) as errors:
        reference = network(image.unsqueeze(0), check)
    for tolerance in _TOLERANCES:
        for layer, error in zip(network.linears, errors, strict=True):
            layer.mode = _fastest(error, tolerance)
        reached = cosine(network(image.unsqueeze(0), check), reference)
        if reached >= _CALIBRATED_COSINE:
            return reached
    use_float(network)
    return 1.0


def use_float(network: FastNetwork) -> None:
    """Run every layer in its float type."""
    for layer in network.linears:
        layer.mode = FLOAT


@contextmanager
def in_float(network: FastNetwork) -> Iterator[None]:
    """Temporarily run every layer in its float type."""
    modes = [layer.mode for layer in network.linears]
    use_float(network)
    try:
        yield
    finally:
        for layer, mode in zip(network.linears, modes, strict=True):
            layer.mode = mode


@contextmanager
def _measuring(network: FastNetwork) -> Iterator[list[LayerErrors]]:
    """Quantise all layers; when the block ends, the list is filled with each layer's errors."""
    errors: list[LayerErrors] = []
    for layer in network.linears:
        layer.quantise()
        layer.start_measuring()
    try:
        yield errors
    finally:
        errors.extend(layer.finish_measuring() for layer in network.linears)


def _fastest(error: LayerErrors, tolerance: float) -> str:
    if error.int8 <= tolerance:
        return INT8
    return INT8_SPLIT if error.int8_split <= tolerance else FLOAT
