"""Confidence follows its definition, and the slices suggested next are uncertain and far apart from each other."""

import pytest
import torch

from FewShotSAMLib.engine.confidence import CERTAIN, SliceConfidence, next_slices, percent, slice_confidence


def confidence_of(foreground: torch.Tensor) -> SliceConfidence:
    probability = torch.stack([1 - foreground, foreground])
    return slice_confidence(probability, *probability.max(dim=0))


def test_certain_slices_have_full_confidence_whether_empty_or_not() -> None:
    foreground = torch.zeros(50, 60)
    assert confidence_of(foreground) == CERTAIN
    foreground[10:30, 10:30] = 1
    assert confidence_of(foreground) == CERTAIN


def test_confidence_is_the_expected_dice() -> None:
    foreground = torch.zeros(100, 100)
    foreground[:20, :20], foreground[50:, 50:70] = 0.8, 0.3
    predicted, expected = 400, 400 * 0.8 + 1000 * 0.3
    found = confidence_of(foreground)
    assert found.confidence == pytest.approx((2 * 320 + 10) / (expected + predicted + 10), abs=1e-4)
    assert found.doubtful == pytest.approx(400 * 0.2 + 1000 * 0.3, abs=0.01)


def test_a_missed_structure_lowers_confidence() -> None:
    foreground = torch.zeros(100, 100)
    foreground[:40, :40] = 0.45
    assert confidence_of(foreground).confidence < 0.05


def test_percent_is_that_of_the_winning_class() -> None:
    assert percent(torch.tensor([[0.704]])).tolist() == [[70]]


def test_next_slices_are_doubtful_and_spread_out() -> None:
    slices = {index: SliceConfidence(0.9, 10.0) for index in range(40)}
    slices[9] = SliceConfidence(0.5, 100.0)
    slices[20] = SliceConfidence(0.5, 90.0)
    slices[21] = SliceConfidence(0.5, 80.0)
    slices[33] = SliceConfidence(0.5, 60.0)
    ranked = next_slices(slices, [10], 3)
    assert ranked[0] == 20
    assert ranked[1] == 33, "21 teaches the same as 20, 9 nearly the same as the painted slice 10"


def test_nothing_is_suggested_where_nothing_is_doubtful_or_left() -> None:
    assert next_slices({0: CERTAIN, 1: CERTAIN}, [0], 5) == []
    assert next_slices({0: SliceConfidence(0.1, 9.0)}, [0], 5) == []
