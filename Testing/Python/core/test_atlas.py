"""Labels transferred to another volume by registration, and volumes that are too different."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from FewShotSAMLib.core.atlas import MOST_VOXELS, Atlas, transfer
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice

SHAPE = (36, 44, 40)
GEOMETRY = Geometry((40, 44, 36), (1.2, 1.0, 1.5), (-20.0, 5.0, 30.0))


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


def body(shift: float = 0.0, swell: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A body with two organs, one of them deformed by `shift` voxels and `swell` times as wide: grey and classes."""
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    y = y + shift * np.sin(z / 9)
    trunk = ((y - 22) / 19) ** 2 + ((x - 20) / 17) ** 2 < 1
    liver = ((y - 18) / 8) ** 2 + ((x - 14) / 7) ** 2 + ((z - 18) / 11) ** 2 < swell
    spleen = ((y - 28) / 5) ** 2 + ((x - 28) / 5) ** 2 + ((z - 16) / 7) ** 2 < swell
    grey = 20 + 80.0 * trunk + 70 * liver + 40 * spleen
    grey += np.random.default_rng(seed).normal(0, 4, SHAPE)
    return grey.clip(0, 255).astype(np.uint8), (liver + 2 * (spleen & ~liver)).astype(np.uint8)


def atlas() -> Atlas:
    grey, classes = body()
    kept = Atlas.of(grey, classes, GEOMETRY)
    assert kept is not None
    return kept


def test_labels_follow_the_anatomy_to_another_body() -> None:
    grey, truth = body(shift=2.5, swell=1.15, seed=1)
    turned = Geometry(GEOMETRY.size, GEOMETRY.spacing, (60.0, -40.0, 300.0))
    found = transfer(atlas(), 2, grey, turned, quiet)
    assert found.is_alike and found.shares.shape == (2, *SHAPE)
    still = [dice(body()[1] == label, truth == label) for label in (1, 2)]
    reached = [dice(found.shares[label - 1] > 127, truth == label) for label in (1, 2)]
    assert reached[0] > still[0] + 0.05 and reached[1] > still[1] + 0.05, (still, reached)


def test_the_same_registration_gives_the_same_bits_with_several_threads() -> None:
    grey, _ = body(shift=2.5, swell=1.15, seed=1)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
    try:
        first, second = (transfer(atlas(), 2, grey, GEOMETRY, quiet) for _ in range(2))
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 4
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert (first.scale, first.likeness) == (second.scale, second.likeness)
    assert np.array_equal(first.shares, second.shares)


def test_another_grid_and_orientation_is_no_matter() -> None:
    grey, truth = body(shift=1.0, seed=2)
    flipped = np.ascontiguousarray(grey[::-1])
    geometry = Geometry(
        GEOMETRY.size, GEOMETRY.spacing, (-20.0, 5.0, 30.0 + 35 * 1.5), (1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0)
    )
    found = transfer(atlas(), 2, flipped, geometry, quiet)
    assert found.is_alike and dice(found.shares[0][::-1] > 127, truth == 1) > 0.9


def test_what_is_not_alike_is_told() -> None:
    noise = np.random.default_rng(5).integers(0, 255, SHAPE).astype(np.uint8)
    assert not transfer(atlas(), 2, noise, GEOMETRY, quiet).is_alike
    assert not transfer(atlas(), 2, np.zeros(SHAPE, np.uint8), GEOMETRY, quiet).is_alike
    assert not transfer(atlas(), 2, 255 - body()[0], GEOMETRY, quiet).is_alike


def test_a_large_volume_is_kept_coarser_and_small() -> None:
    grey = np.repeat(np.repeat(body()[0], 5, axis=1), 5, axis=2)
    classes = np.repeat(np.repeat(body()[1], 5, axis=1), 5, axis=2)
    kept = Atlas.of(grey, classes, Geometry((200, 220, 36), (0.24, 0.2, 1.5)))
    assert kept is not None and kept.grey.size <= MOST_VOXELS and set(np.unique(kept.classes)) == {0, 1, 2}
    assert kept.classes.shape == kept.grey.shape == kept.geometry.shape


def test_nothing_is_kept_where_nothing_was_found_or_the_volume_is_too_thin() -> None:
    grey, classes = body()
    assert Atlas.of(grey, np.zeros_like(classes), GEOMETRY) is None
    thin = Geometry((40, 44, 2), (1.0, 1.0, 1.0))
    assert Atlas.of(grey[:2], np.ones((2, *SHAPE[1:]), np.uint8), thin) is None


def test_it_can_be_stopped() -> None:
    def stop(done: int, total: int) -> None:
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(atlas(), 2, body()[0], GEOMETRY, stop)
