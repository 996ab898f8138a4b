"""Integer linear layers: how exact they are, and where they must not be used."""

import pytest
import torch
from torch.nn import functional as F

from FewShotSAMLib.sam.fast.linear import INT8, INT8_SPLIT, Linear, integer_products_work

pytestmark = pytest.mark.skipif(not integer_products_work(), reason="this torch has no usable 8-bit products")


def _layer(outlier: float = 1.0) -> tuple[Linear, torch.Tensor, torch.Tensor]:
    """A layer, its input (2, 30, 64) of which one channel is `outlier` times larger, and the exact result."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(48, 64, generator=generator), torch.randn(48, generator=generator)
    x = torch.randn(2, 30, 64, generator=generator)
    x[..., 5] *= outlier
    weight[:, 5] /= outlier
    layer = Linear(weight, bias, torch.device("cpu"), torch.float32)
    layer.quantise()
    return layer, x, F.linear(x, weight, bias)


def _relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_integers_are_close_and_split_activations_closer() -> None:
    layer, x, expected = _layer()
    errors = {}
    for mode in (INT8, INT8_SPLIT):
        layer.mode = mode
        assert layer(x).shape == expected.shape
        errors[mode] = _relative(layer(x), expected)
    assert errors[INT8] < 0.02
    assert errors[INT8_SPLIT] < 0.8 * errors[INT8]


def test_measured_errors_tell_outlier_channels() -> None:
    layer, x, expected = _layer(outlier=20.0)
    layer.start_measuring()
    torch.testing.assert_close(layer(x), expected)
    errors = layer.finish_measuring()
    assert errors.int8 > 0.03
    assert errors.int8_split < 0.02


def test_zero_rows_and_constant_input() -> None:
    layer, x, _ = _layer()
    for mode in (INT8, INT8_SPLIT):
        layer.mode = mode
        torch.testing.assert_close(layer(torch.zeros_like(x)), layer.bias.expand(2, 30, -1))
        assert layer(torch.ones_like(x)).isfinite().all()


def test_what_the_mode_needs_is_kept() -> None:
    for mode in (INT8, INT8_SPLIT):
        layer, x, _ = _layer()
        layer.mode = mode
        before = layer(x)
        layer.keep_chosen_only()
        assert torch.equal(layer(x), before)
        with pytest.raises(RuntimeError, match="freed"):
            layer.quantise()
