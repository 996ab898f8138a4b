"""Linear layers for encoder inference: float32, half precision, or 8-bit integers with float32 in and out.

The integer forms quantise the weight once, with one scale per output channel, and the activations at each call:

- `INT8`: one scale and zero point for the whole input. One product, which also dequantises, adds the bias and applies
  GELU.
- `INT8_SPLIT`: one scale per token, and each activation as two 8-bit numbers, a coarse and a fine one, which preserves
  about 15 bits of the token's range. Two products: slower, but still faster than float32 and far less sensitive to the
  outlier channels of trained vision transformers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FLOAT = "float"
INT8 = "int8"
INT8_SPLIT = "int8-split"

_TINY = torch.finfo(torch.float32).tiny
"""Prevents a scale of zero for rows that are all zero."""
_LEVELS = 127
_FINE_LEVELS = 254
"""The remainder after rounding lies within ±0.5, so that ±0.5 · 254 fills ±127."""
_UNSIGNED_RANGE = 254.5
"""Steps between the smallest and the greatest activation: half a step less than 255, as rounding may add that."""
_ROUNDER = 1.5 * 2.0**23
"""Added to a small float32, leaves the rounded value in the lowest bits, as two's complement: three passes in one."""
_GOOD = 0.015
"""Relative error of plain integers up to which splitting the activations is not considered."""
_CACHED_ROWS = 64
"""Rows quantised at a time, so that intermediate values stay in the processor's cache."""
_SLOW_SECONDS = 0.2
"""For the trial products: under a millisecond with optimised code, most of a second with torch's generic fallback."""


class LayerErrors(NamedTuple):
    """Relative error (root of summed squares) of a layer's integer variants against float32.

    That of the split form is only an upper bound if the plain form is already good.
    """

    int8: float
    int8_split: float


class Linear:
    """`F.linear` with a weight prepared for inference; several threads may call it at once."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, device: torch.device, dtype: torch.dtype, gelu: bool = False
    ) -> None:
        """`gelu`: apply GELU (the exact one) to the result."""
        self.mode = FLOAT
        self._gelu = gelu
        self._weight: Tensor | None = weight.detach().to(device, dtype)
        self._outputs = weight.shape[0]
        bias = torch.zeros(self._outputs) if bias is None else bias.detach()
        self.bias = bias.to(device, dtype)
        self._int_weight: Tensor | None = None
        self._packed: Tensor | None = None
        self._scale = self._zeros = torch.empty(0)
        self._samples: list[tuple[float, float, float]] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if self._samples is not None:
            return self._measure(x, self._samples)
        if self.mode == INT8:
            return self._int8(x.reshape(-1, x.shape[-1]), self._gelu).view(*x.shape[:-1], self._outputs)
        if self.mode == INT8_SPLIT:
            result = self._int8_split(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], self._outputs)
        else:
            result = F.linear(x, self._float_weight(), self.bias)
        return F.gelu(result) if self._gelu else result

    def quantise(self) -> None:
        """Prepare the 8-bit weight, one scale per output channel; the float weight stays until `keep_chosen_only`."""
        weight = self._float_weight()
        self._scale = weight.abs().amax(1).clamp_min(_TINY) / _LEVELS
        self._int_weight = (weight / self._scale[:, None]).round_().to(torch.int8)
        self._zeros = torch.zeros(self._outputs, dtype=torch.int32)
        self._packed = torch.ops.onednn.qlinear_prepack(self._int_weight, None)

    def start_measuring(self) -> None:
        """From now on, calls compute in float32 and record the errors of the integer variants."""
        self._samples = []

    def finish_measuring(self) -> LayerErrors:
        """The relative errors over all calls since `start_measuring`, regardless of their order."""
        columns = zip((0.0, 0.0, 0.0), *(self._samples or []), strict=True)
        reference, plain, split = (math.fsum(column) for column in columns)
        self._samples = None
        reference = max(reference, _TINY)
        return LayerErrors(math.sqrt(plain / reference), math.sqrt(split / reference))

    def keep_chosen_only(self) -> None:
        """Free the weights that the chosen mode does not use."""
        if self.mode != FLOAT:
            self._weight = None
        if self.mode != INT8:
            self._packed = None
        if self.mode != INT8_SPLIT:
            self._int_weight = None

    def _float_weight(self) -> Tensor:
        if self._weight is None:
            raise RuntimeError("the float weight of this layer was freed")
        return self._weight

    def _int8(self, rows: Tensor, gelu: bool) -> Tensor:
        quantised, scale, zero = _quantise_unsigned(rows)
        weight = (self._packed, self._scale, self._zeros)
        return _integer_linear(quantised, scale, zero, *weight, self.bias, gelu)

    def _int8_split(self, rows: Tensor) -> Tensor:
        assert self._int_weight is not None
        largest = torch.maximum(rows.amax(1, keepdim=True), rows.amin(1, keepdim=True).neg_())
        row_scale = largest.clamp_min_(_TINY).div_(_LEVELS)
        scaled = rows / row_scale
        coarse = scaled.round()
        fine = scaled.sub_(coarse).mul_(_FINE_LEVELS).round_()
        both = torch.cat([coarse.to(torch.int8), fine.to(torch.int8)])
        products = torch._int_mm(both, self._int_weight.t()).view(2, len(rows), self._outputs)
        result = products[0].float().add_(products[1], alpha=1 / _FINE_LEVELS)
        return torch.addcmul(self.bias, result.mul_(row_scale), self._scale, out=result)

    def _measure(self, x: Tensor, samples: list[tuple[float, float, float]]) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        reference = F.linear(rows, self._float_weight(), self.bias)
        # The bias is exact in every variant, so the error is relative to the product's contribution.
        size = float((reference - self.bias).square().sum())
        plain = float((self._int8(rows, gelu=False) - reference).square().sum())
        good = plain <= _GOOD**2 * size
        samples.append((size, plain, plain if good else float((self._int8_split(rows) - reference).square().sum())))
        reference = reference.view(*x.shape[:-1], self._outputs)
        return F.gelu(reference) if self._gelu else reference


@cache
def integer_products_work() -> bool:
    """Whether this torch multiplies 8-bit matrices on the CPU correctly, and without a slow generic fallback."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (256, 512), generator=generator, dtype=torch.int8)
    rows = torch.randint(0, 256, (256, 512), generator=generator, dtype=torch.uint8)
    signed = weight[:128].clone()
    ones, zeros = torch.ones(256), torch.zeros(256)
    expected = (rows.double() - 7) @ weight.double().t() / 2
    try:
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        arguments = (rows, 0.5, 7, packed, ones, zeros.int(), zeros, False)
        if not torch.equal(_integer_linear(*arguments).double(), expected):
            return False
        if not torch.equal(torch._int_mm(signed, weight.t()).double(), signed.double() @ weight.double().t()):
            return False
        split = _fastest_of_three(lambda: torch._int_mm(signed, weight.t()))
        fused = _fastest_of_three(lambda: _integer_linear(*arguments))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return max(split, fused) < _SLOW_SECONDS


def _quantise_unsigned(rows: Tensor) -> tuple[Tensor, float, int]:
    """float32 -> (uint8 of the same shape, scale, zero point), so that rows ≈ scale · (uint8 - zero point)."""
    least, greatest = torch.aminmax(rows)
    low, high = min(least.item(), 0.0), max(greatest.item(), 0.0)
    scale = max((high - low) / _UNSIGNED_RANGE, _TINY)
    zero = round(-low / scale)
    quantised = torch.empty(rows.shape, dtype=torch.int8)
    rounder = torch.tensor(_ROUNDER + zero)
    for source, target in zip(rows.split(_CACHED_ROWS), quantised.split(_CACHED_ROWS), strict=True):
        # Narrowing keeps the lowest byte, whose 0..255 are restored by the unsigned view below.
        target.copy_(torch.add(rounder, source, alpha=1 / scale).view(torch.int32))
    return quantised.view(torch.uint8), scale, zero


def _integer_linear(
    x: Tensor,
    scale: float,
    zero: int,
    packed: Tensor | None,
    weight_scale: Tensor,
    weight_zero: Tensor,
    bias: Tensor,
    gelu: bool,
) -> Tensor:
    """oneDNN's product of uint8 rows and a packed int8 weight, dequantised to float32, with a float32 bias."""
    float_out: tuple[Any, ...] = (1.0, 0, torch.float32, "gelu" if gelu else "none", [], "none" if gelu else "")
    operation = torch.ops.onednn.qlinear_pointwise
    return operation(x, scale, zero, packed, weight_scale, weight_zero, bias, *float_out)


def _fastest_of_three(work: Callable[[], object]) -> float:
    """The shortest of three runs, in seconds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
