"""The region around what is painted."""

import numpy as np
import pytest

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.core.region import LEAST_SIDE, Region, region_box, regions
from FewShotSAMLib.core.segment import Segment, Segmentation

SHAPE = (6, 100, 120)


def several(*boxes: tuple[slice, slice], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Annotation:
    """A segment in each box, all on one slice."""
    geometry = Geometry(SHAPE[::-1], spacing)
    layers = np.zeros((1, *SHAPE), np.uint8)
    for number, box in enumerate(boxes, start=1):
        layers[(0, 2, *box)] = number
    segments = tuple(Segment(str(n), str(n), (1.0, 0.0, 0.0), n + 1) for n in range(len(boxes)))
    return Annotation(Segmentation(layers, geometry, segments), 0, (2,))


def box_of(annotation: Annotation, earlier: tuple[int, int, int, int] | None = None) -> tuple[int, int, int, int]:
    return region_box(annotation, slice_plane(annotation.segmentation.geometry, 0), earlier)


def test_the_region_is_square_with_a_margin() -> None:
    first_row, end_row, first_column, end_column = box_of(several((slice(30, 70), slice(50, 60))))
    assert (first_row, end_row) == (18, 82)
    assert end_column - first_column == end_row - first_row
    assert first_column <= 50 and end_column >= 60


def test_sides_are_measured_in_mm() -> None:
    first_row, end_row, first_column, end_column = box_of(
        several((slice(40, 60), slice(40, 60)), spacing=(0.5, 1.0, 1.0))
    )
    assert (end_row - first_row) * 1.0 == pytest.approx((end_column - first_column) * 0.5, abs=1)


def test_the_region_stays_within_the_slice_and_is_not_tiny() -> None:
    assert box_of(several((slice(0, 100), slice(0, 120)))) == (0, 100, 0, 120)
    corner = box_of(several((slice(0, 2), slice(118, 120))))
    assert corner == (0, LEAST_SIDE, 120 - LEAST_SIDE, 120)


def test_an_earlier_region_is_kept_while_it_fits() -> None:
    earlier = box_of(several((slice(30, 70), slice(40, 80))))
    assert box_of(several((slice(32, 73), slice(40, 80))), earlier) == earlier
    assert box_of(several((slice(30, 90), slice(40, 80))), earlier) != earlier


LARGE, SMALL = (slice(0, 60), slice(0, 70)), (slice(85, 95), slice(100, 110))
BESIDE = (slice(86, 96), slice(106, 116))


def regions_of(annotation: Annotation, size: int, earlier: tuple[Region, ...] = ()) -> tuple[Region, ...]:
    return regions(annotation, slice_plane(annotation.segmentation.geometry, 0), size, earlier)


def test_small_segments_far_from_large_ones_have_regions_of_their_own() -> None:
    found = regions_of(several(SMALL, LARGE, BESIDE), 48)
    assert [each.labels for each in found] == [(2,), (1, 3)]
    for each in found:
        alone = several(*((LARGE,) if each.labels == (2,) else (SMALL, BESIDE)))
        assert each.crop == box_of(alone)


@pytest.mark.parametrize(("size", "boxes"), [(48, (LARGE, LARGE)), (48, (SMALL, BESIDE)), (480, (LARGE, SMALL))])
def test_one_region_is_enough(size: int, boxes: tuple[tuple[slice, slice], ...]) -> None:
    """For segments of one size, close to each other, or on slices whose pixels are as large as the region's anyway."""
    assert regions_of(several(*boxes), size) == ()


def test_earlier_regions_are_kept_while_they_fit() -> None:
    earlier = regions_of(several(LARGE, SMALL), 48)
    rows, columns = SMALL
    moved = (slice(rows.start, rows.stop + 1), columns)
    assert regions_of(several(LARGE, moved), 48, earlier) == earlier
    beyond = (slice(rows.start - 30, rows.stop), columns)
    assert regions_of(several(LARGE, beyond), 48, earlier) != earlier


def test_a_segment_that_is_painted_nowhere_has_no_region() -> None:
    nowhere = (slice(0, 0), slice(0, 0))
    assert [each.labels for each in regions_of(several(LARGE, nowhere, SMALL), 48)] == [(1,), (3,)]
