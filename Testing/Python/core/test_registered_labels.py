"""Registered labels, corrected by painted slices."""

from __future__ import annotations

import numpy as np
import pytest

from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.registered_labels import PaintedMasks, agreement, corrected_label, stand_in_slices

SHAPE = (40, 48, 48)
SPACING = (2.0, 1.0, 1.0)


def ball(y: float = 24.0, x: float = 24.0, radius: float = 12.0, bend: float = 0.0) -> np.ndarray:
    """An organ on slices 8 to 32."""
    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    y = y + bend * (k - 20) / 12  # type: ignore[assignment]
    return ((j - y) / radius) ** 2 + ((i - x) / radius) ** 2 + ((k - 20) / 12.5) ** 2 < 1


def painted(truth: np.ndarray, *slices: int) -> PaintedMasks:
    return PaintedMasks({index: truth[index] for index in slices})


def test_agreement_is_that_on_the_painted_slices() -> None:
    truth = ball()
    assert agreement(truth.astype(np.uint8) * 255, painted(truth, 16, 20, 2)) == 1.0
    assert agreement(ball(y=70).astype(np.uint8) * 255, painted(truth, 20)) == 0.0
    wrong_end = np.concatenate([truth[4:], truth[:4]]).astype(np.uint8) * 255
    assert agreement(wrong_end, painted(truth, 5, 20)) < agreement(wrong_end, painted(truth, 20))
    assert agreement(np.zeros(SHAPE, np.uint8), painted(truth, 2)) == 0.0


@pytest.mark.parametrize(("shown", "gain"), [((20,), 0.04), ((12, 28), 0.06)])
def test_a_label_that_lies_wrong_is_moved_as_the_painted_slices_say(shown: tuple[int, ...], gain: float) -> None:
    truth, label = ball(y=27, x=22), ball(y=24, x=24, bend=1.5).astype(np.float32)
    right = corrected_label(label, painted(truth, *shown), SPACING)
    rest = [index for index in range(40) if index not in shown]
    assert dice(right[rest] >= 0.5, truth[rest]) > dice(label[rest] >= 0.5, truth[rest]) + gain
    assert all(dice(right[index] >= 0.5, truth[index]) > 0.97 for index in shown)


def test_it_grows_and_shrinks_near_the_painted_slice_alone() -> None:
    label, truth = ball(radius=10).astype(np.float32), ball(radius=13)
    right = corrected_label(label, painted(truth, 20), SPACING)
    grown = right.sum(axis=(1, 2)) / np.maximum(label.sum(axis=(1, 2)), 1)
    assert grown[20] > 1.5 and grown[20] > grown[24] > grown[28] > 0.99
    assert not right[[0, 39]].any()


def test_nothing_to_go_by_changes_nothing() -> None:
    label = ball().astype(np.float32)
    np.testing.assert_array_equal(corrected_label(label, PaintedMasks({3: np.zeros(SHAPE[1:], bool)}), SPACING), label)
    blank = np.zeros(SHAPE, np.float32)
    np.testing.assert_array_equal(corrected_label(blank, painted(ball(), 20), SPACING), blank)


def test_where_a_label_stands_for_paint() -> None:
    """In mm, its radius is half of its extent, or a quarter where slices are thick."""
    label = ball().astype(np.float32)
    assert stand_in_slices(label, painted(ball(), 20), (4.0, 1.0, 1.0)) == ([9, 15, 25, 31], [7, 33])
    assert stand_in_slices(label, painted(ball(), 20), (1.1, 1.0, 1.0)) == ([9, 31], [7, 33])
    assert stand_in_slices(label, painted(ball(), 9, 20, 31), (4.0, 1.0, 1.0)) == ([], [])
    assert stand_in_slices(label, painted(ball(), 9, 31), (4.0, 1.0, 1.0)) == ([15, 25], [])
    assert stand_in_slices(label, painted(ball(), 14), (4.0, 1.0, 1.0)) == ([9, 25, 31], [7, 33])
    declared = stand_in_slices(label, painted(ball(), 20, 28, 5, 36), (4.0, 1.0, 1.0))
    assert declared[1] == [] and 31 not in declared[0]
    assert stand_in_slices(label, PaintedMasks({3: np.zeros(SHAPE[1:], bool)}), SPACING) == ([], [])
