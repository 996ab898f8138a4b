"""Linear layers for encoder inference: float32, half precision, or 8-bit integers with float32 in and out.

The integer layers quantise the weight once (one scale per output channel) and each activation row as it comes (one
scale per token), so nothing has to be calibrated beforehand and a row's result never depends on its neighbours.
`INT8_SPLIT` writes each activation as two 8-bit numbers, a coarse and a fine one, which keeps about 15 bits of the
row's range: slower than `INT8`, still faster than float32, and indifferent to the outlier channels that trained
vision transformers have.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FLOAT = "float"
INT8 = "int8"
INT8_SPLIT = "int8-split"

_LEVELS = 127
_FINE_LEVELS = 254  # the rest after rounding lies in ±0.5, so ±0.5 · 254 fills ±127


class LayerErrors(NamedTuple):
    """Relative error (root of summed squares) of a layer's integer variants against float32."""

    int8: float
    int8_split: float


class Linear:
    """`F.linear` with a weight prepared for inference; several threads may call it at once."""

    def __init__(self, weight: Tensor, bias: Tensor | None, device: torch.device, dtype: torch.dtype) -> None:
        self.mode = FLOAT
        self._weight: Tensor | None = weight.detach().to(device, dtype)
        self._shape = tuple(weight.shape)
        self.bias = torch.zeros(weight.shape[0]) if bias is None else bias.detach()
        self.bias = self.bias.to(device, dtype)
        self._int_weight: Tensor | None = None
        self._scale: Tensor | None = None
        self._samples: list[tuple[float, float, float]] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if self._samples is not None:
            return self._measure(x, self._samples)
        if self.mode == FLOAT:
            return F.linear(x, self._float_weight(), self.bias)
        return self._integer(x, split=self.mode == INT8_SPLIT)

    def quantise(self) -> None:
        """Prepare the 8-bit weight, one scale per output channel; the float weight stays until `keep_chosen_only`."""
        weight = self._float_weight()
        scale = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / _LEVELS
        self._int_weight = (weight / scale[:, None]).round_().to(torch.int8)
        self._scale = scale

    def start_measuring(self) -> None:
        """From now on calls compute in float32 and note how far the integer variants are off."""
        self._samples = []

    def finish_measuring(self) -> LayerErrors:
        """The relative errors over all calls since `start_measuring`, whatever order the calls came in."""
        reference, plain, split = (
            math.fsum(column) for column in zip((0.0, 0.0, 0.0), *(self._samples or []), strict=True)
        )
        self._samples = None
        reference = max(reference, torch.finfo(torch.float32).tiny)
        return LayerErrors(math.sqrt(plain / reference), math.sqrt(split / reference))

    def keep_chosen_only(self) -> None:
        """Free the weight that the chosen mode does not use."""
        if self.mode == FLOAT:
            self._int_weight = self._scale = None
        else:
            self._weight = None

    def _float_weight(self) -> Tensor:
        if self._weight is None:
            raise RuntimeError("the float weight of this layer was freed")
        return self._weight

    def _integer(self, x: Tensor, split: bool) -> Tensor:
        assert self._int_weight is not None and self._scale is not None
        rows = x.reshape(-1, self._shape[1])
        quantised, row_scale = _quantise_rows(rows, split)
        products = torch._int_mm(quantised, self._int_weight.t()).view(-1, len(rows), self._shape[0])
        result = products[0].float()
        if split:
            result.add_(products[1], alpha=1 / _FINE_LEVELS)
        torch.addcmul(self.bias, result.mul_(row_scale), self._scale, out=result)
        return result.view(*x.shape[:-1], self._shape[0])

    def _measure(self, x: Tensor, samples: list[tuple[float, float, float]]) -> Tensor:
        reference = F.linear(x, self._float_weight(), self.bias)
        off = (self._integer(x, split) - reference for split in (False, True))
        # The bias is exact in every variant, so the error is judged against what the product contributes.
        plain, split = (float(one.square().sum()) for one in off)
        samples.append((float((reference - self.bias).square().sum()), plain, split))
        return reference


def _quantise_rows(rows: Tensor, split: bool) -> tuple[Tensor, Tensor]:
    """(rows, n) float32 -> int8 (rows, n), or (2 · rows, n) with the fine parts below, and the scales (rows, 1)."""
    largest = torch.maximum(rows.amax(1, keepdim=True), rows.amin(1, keepdim=True).neg_())
    scale = largest.clamp_min_(torch.finfo(torch.float32).tiny).div_(_LEVELS)
    scaled = rows * scale.reciprocal()
    if not split:
        return scaled.round_().to(torch.int8), scale
    coarse = scaled.round()
    fine = scaled.sub_(coarse).mul_(_FINE_LEVELS).round_()
    return torch.cat([coarse.to(torch.int8), fine.to(torch.int8)]), scale


def integer_products_work() -> bool:
    """Whether this torch multiplies 8-bit matrices on the CPU, and exactly."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(-127, 128, (40, 64), generator=generator, dtype=torch.int8)
    b = torch.randint(-127, 128, (48, 64), generator=generator, dtype=torch.int8)
    try:
        product = torch._int_mm(a, b.t())
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return torch.equal(product, (a.double() @ b.double().t()).to(torch.int32))
