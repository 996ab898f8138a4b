"""The region around what is painted."""

import numpy as np
import pytest

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.core.region import LEAST_SIDE, region_box
from FewShotSAMLib.core.segment import Segment, Segmentation

SHAPE = (6, 100, 120)


def drawn(rows: slice, columns: slice, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Annotation:
    geometry = Geometry((SHAPE[2], SHAPE[1], SHAPE[0]), spacing, (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    layers = np.zeros((1, *SHAPE), np.uint8)
    layers[0, 2, rows, columns] = 1
    segment = Segment("organ", "organ", (1.0, 0.0, 0.0), 1)
    return Annotation(Segmentation(layers, geometry, (segment,)), 0, (2,))


def box_of(annotation: Annotation, earlier: tuple[int, int, int, int] | None = None) -> tuple[int, int, int, int]:
    return region_box(annotation, slice_plane(annotation.segmentation.geometry, 0), earlier)


def test_the_region_is_square_with_a_margin() -> None:
    first_row, end_row, first_column, end_column = box_of(drawn(slice(30, 70), slice(50, 60)))
    assert (first_row, end_row) == (18, 82)
    assert end_column - first_column == end_row - first_row
    assert first_column <= 50 and end_column >= 60


def test_sides_are_measured_in_mm() -> None:
    first_row, end_row, first_column, end_column = box_of(drawn(slice(40, 60), slice(40, 60), (0.5, 1.0, 1.0)))
    assert (end_row - first_row) * 1.0 == pytest.approx((end_column - first_column) * 0.5, abs=1)


def test_the_region_stays_within_the_slice_and_is_not_tiny() -> None:
    assert box_of(drawn(slice(0, 100), slice(0, 120))) == (0, 100, 0, 120)
    corner = box_of(drawn(slice(0, 2), slice(118, 120)))
    assert corner == (0, LEAST_SIDE, 120 - LEAST_SIDE, 120)


def test_an_earlier_region_is_kept_while_it_fits() -> None:
    earlier = box_of(drawn(slice(30, 70), slice(40, 80)))
    assert box_of(drawn(slice(32, 73), slice(40, 80)), earlier) == earlier
    assert box_of(drawn(slice(30, 90), slice(40, 80)), earlier) != earlier
