"""Fusion of labels from several registered atlases."""

import numpy as np

from FewShotSAMLib.core.atlas import Transferred
from FewShotSAMLib.core.label_fusion import fused_labels

SHAPE, SPACING = (12, 40, 40), (2.0, 1.0, 1.0)
TRUTH = np.zeros(SHAPE, bool)
TRUTH[3:9, 10:30, 10:30] = True


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)


def brought(right: tuple[slice, ...], likeness: float) -> Transferred:
    """An atlas whose image and label are right in a part of the volume, and show something else elsewhere."""
    grey, label = np.random.default_rng(1).integers(0, 256, SHAPE).astype(np.uint8), ~TRUTH
    grey[right], label[right] = image()[right], TRUTH[right]
    return Transferred(np.stack([label, np.zeros_like(label)]).astype(np.uint8) * 255, likeness, 1.0, grey)


def test_each_counts_where_its_image_fits() -> None:
    left, right = (..., slice(0, 20)), (..., slice(20, 40))
    found = fused_labels([brought(left, 0.6), brought(right, 0.7)], image(), SPACING)
    wrong = (found.shares[0] >= 128) != TRUTH
    assert found.likeness == 0.7 and not wrong[..., :17].any() and not wrong[..., 23:].any()
    assert found.shares.dtype == np.uint8 and not found.shares[1].any()


def test_one_that_does_not_know_a_segment_has_no_vote_on_it() -> None:
    knowing = brought((...,), 0.6)
    other = Transferred(knowing.shares[::-1].copy(), 0.9, 1.0, image())
    found = fused_labels([knowing, other], image(), SPACING)
    np.testing.assert_array_equal(found.shares, 255 * np.stack([TRUTH, TRUTH]))


def test_one_alone_is_the_answer_and_none_with_labels_is_none() -> None:
    alone = Transferred(np.zeros((1, *SHAPE), np.uint8), 0.3)
    assert fused_labels([alone], image(), SPACING) is alone
    assert not fused_labels([alone, alone], image(), SPACING).shares.any()
