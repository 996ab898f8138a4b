"""The phantom looks like CT, and its organs are worth propagating."""

import numpy as np
import pytest
from scipy import ndimage

from FewShotSAMLib.core.intensity import parse_normalisation
from FewShotSAMLib.core.phantom import ct_phantom

ENDING = ("stomach", "liver", "gallbladder", "spleen", "right kidney", "left kidney")


def test_organs_change_along_k_and_end_inside() -> None:
    volume, truth = ct_phantom()
    assert volume.voxels.dtype == np.int16 and volume.geometry == truth.geometry
    assert truth.layers.shape == (1, *volume.voxels.shape)
    by_name = {segment.name: truth.mask(segment) for segment in truth.segments}
    for name in ENDING:
        held = np.flatnonzero(by_name[name].any(axis=(1, 2)))
        assert held[0] > 0 and held[-1] < len(volume.voxels) - 1 and len(held) >= 10
        areas = by_name[name].sum(axis=(1, 2))[held]
        assert areas.max() > 2 * areas[[0, -1]].max()
        islands, count = ndimage.label(by_name[name])
        assert count == 1 or np.bincount(islands.ravel())[1:].max() > 0.95 * by_name[name].sum()


def test_hounsfield_units() -> None:
    volume, truth = ct_phantom((40, 80, 96), seed=3)
    assert parse_normalisation("auto", volume).key == "window:-150,250"
    liver = next(segment for segment in truth.segments if segment.name == "liver")
    values = volume.voxels[ndimage.binary_erosion(truth.mask(liver), iterations=2)]
    assert values.mean() == pytest.approx(108, abs=3) and values.std() == pytest.approx(14, abs=3)


def test_seed_and_shape() -> None:
    first, second, other = (ct_phantom((12, 40, 48), seed)[0] for seed in (1, 1, 2))
    assert first.content_hash == second.content_hash != other.content_hash
    assert first.geometry.spacing_kji == pytest.approx((20, 7.75, 8))
