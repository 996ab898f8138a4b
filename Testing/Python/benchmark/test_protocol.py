"""Which slices are given, which are counted, and that nothing else affects the scores."""

import numpy as np
import pytest

from FewShotSAMLib.benchmark import Painting, choose_slices, paint, score
from FewShotSAMLib.benchmark.tasks import SEGMENT
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segmentation

SPACING = (3.0, 1.5, 1.0)


def bar() -> np.ndarray:
    """A bar along axis 0, slices 10 to 50 of 60."""
    mask = np.zeros((60, 20, 20), bool)
    mask[10:51, 5:15, 5:15] = True
    return mask


@pytest.mark.parametrize(
    ("first", "count", "ends", "expected"),
    [
        (0, 1, True, Painting((30,), (9, 51))),
        (0, 3, True, Painting((12, 30, 48), (9, 51))),
        (0, 5, True, Painting((12, 21, 30, 39, 48), (9, 51))),
        (10, 3, True, Painting((2, 20, 38), (41,))),  # cut off by the volume's end: no empty slice there
        (10, 3, False, Painting((2, 20, 38), ())),  # ends are to be found
    ],
)
def test_painted_slices_are_evenly_spaced_and_inset(first: int, count: int, ends: bool, expected: Painting) -> None:
    assert choose_slices(bar()[first:], 0, count, ends) == expected


def test_nothing_to_predict_where_all_slices_would_be_painted() -> None:
    mask = np.zeros((9, 4, 4), bool)
    mask[3:6, 1:3, 1:3] = True
    assert choose_slices(mask, 0, 3) is None
    assert choose_slices(mask, 0, 2) is not None


def test_a_method_sees_the_painted_slices_and_no_more() -> None:
    truth = Segmentation(bar().astype(np.uint8)[np.newaxis], Geometry((20, 20, 60)), (SEGMENT,))
    annotation = paint(truth, 0, Painting((12, 30), (9,)))
    seen = annotation.segmentation.mask(SEGMENT)
    assert np.flatnonzero(seen.any(axis=(1, 2))).tolist() == [12, 30]
    assert (annotation.painted, annotation.empty, annotation.axis) == ((12, 30), (9,), 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_given_slices_do_not_count(axis: int) -> None:
    truth = np.moveaxis(bar(), 0, axis)
    painting = Painting((12, 30), (9, 51))
    result = truth.copy()
    np.moveaxis(result, axis, 0)[[9, 12, 30, 51]] = np.random.default_rng(0).random((4, 20, 20)) > 0.5
    scores = score(result, truth, axis, painting, SPACING)
    assert (scores.dice, scores.hd95_mm, scores.assd_mm) == (1.0, 0.0, 0.0)
    assert scores.counted_slices == 56


def test_given_slices_do_not_flatter_the_distances() -> None:
    """A result one pixel too large on every counted slice is off by one pixel, however many slices were given."""
    truth, wide = bar(), np.zeros((60, 20, 20), bool)
    wide[10:51, 4:16, 4:16] = True
    ends = {10, 50}  # their faces are border voxels, too
    for painted in ((12, 30, 48), tuple(range(11, 50, 2))):
        painting = Painting(tuple(sorted({*painted, *ends})), (9, 51))
        scores = score(wide, truth, 0, painting, (100.0, 1.0, 1.0))
        assert scores.hd95_mm == pytest.approx(1.0, abs=0.5)
        assert 1.0 <= scores.assd_mm < 1.1


def test_an_empty_result_has_finite_distances() -> None:
    scores = score(np.zeros((60, 20, 20), bool), bar(), 0, Painting((30,), (9, 51)), SPACING)
    assert scores.dice == 0.0
    assert 20 < scores.hd95_mm <= 60  # up to 20 slices of 3 mm from the painted one
    assert np.isfinite(scores.assd_mm)


def test_dice_is_that_of_the_counted_slices() -> None:
    truth = bar()
    result = truth.copy()
    result[31:] = False
    painting = Painting((12, 30, 48), (9, 51))
    assert score(result, truth, 0, painting, SPACING).dice == pytest.approx(2 * 19 / (19 + 38))
