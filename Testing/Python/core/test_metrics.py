"""The metrics agree with MONAI's, on random shapes and with anisotropic spacing."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage

from FewShotSAMLib.core.metrics import assd, dice, hd95

SPACING = (5.0, 0.7, 0.9)


def blob(seed: int, shift: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(16, 40, 44))
    k, j, i = np.indices(noise.shape)
    ball = 1 - ((k - 8) / 6) ** 2 - ((j - 20 - shift) / 14) ** 2 - ((i - 22) / 16) ** 2
    return ball + 2 * ndimage.gaussian_filter(noise, 2) > 0


def monai(function: Callable[..., torch.Tensor], first: np.ndarray, second: np.ndarray, **options: object) -> float:
    pair = [torch.from_numpy(mask[np.newaxis, np.newaxis]) for mask in (first, second)]
    return float(function(*pair, include_background=True, **options))


@pytest.mark.filterwarnings("ignore::FutureWarning:monai.*")
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_monai(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own imports are noisy
        from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
    first, second = blob(seed), blob(seed + 10, shift=3 * seed)
    assert dice(first, second) == pytest.approx(monai(compute_dice, first, second), abs=1e-6)
    expected = monai(compute_hausdorff_distance, first, second, percentile=95, spacing=SPACING)
    assert hd95(first, second, SPACING) == pytest.approx(expected, rel=1e-5)
    expected = monai(compute_average_surface_distance, first, second, symmetric=True, spacing=SPACING)
    assert assd(first, second, SPACING) == pytest.approx(expected, rel=1e-5)


def test_distances_are_in_millimetres() -> None:
    first, second = np.zeros((2, 9, 10, 11), bool)
    first[2, 3, 4] = second[4, 3, 4] = True
    assert hd95(first, second, SPACING) == assd(first, second, SPACING) == pytest.approx(10.0)
    assert hd95(first, second, SPACING) == hd95(second, first, SPACING)


def test_empty_masks() -> None:
    full, empty = blob(0), np.zeros((16, 40, 44), bool)
    assert dice(empty, empty) == 1
    assert (hd95(empty, empty, SPACING), assd(empty, empty, SPACING)) == (0, 0)
    for first, second in ((full, empty), (empty, full)):
        assert dice(first, second) == 0
        assert hd95(first, second, SPACING) == assd(first, second, SPACING) == float("inf")
    assert (dice(full, full), hd95(full, full, SPACING), assd(full, full, SPACING)) == (1, 0, 0)


def test_two_dimensions() -> None:
    first, second = blob(1)[8], blob(1)[8]
    second = np.roll(second, 2, axis=1)
    assert 0 < assd(first, second, SPACING[1:]) <= hd95(first, second, SPACING[1:]) <= 2 * 0.9 + 1e-9
