"""Painted slices are found along any axis, and invalid annotations are refused."""

from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.core.annotation import IGNORE, annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.painted_axis import check_one_axis, find_painted_axis
from FewShotSAMLib.core.segmentation import Segment, Segmentation, read_segmentation

SPACING = (0.7, 0.8, 5.0)


@pytest.fixture
def ball() -> np.ndarray:
    k, j, i = np.indices((36, 40, 44))
    return ((k - 18) / 14) ** 2 + ((j - 20) / 16) ** 2 + ((i - 22) / 18) ** 2 < 1


def painted(mask: np.ndarray, *slices: tuple[int, int]) -> np.ndarray:
    """Return the mask on the slices (axis, index) only."""
    sparse = np.zeros_like(mask)
    for axis, index in slices:
        here = (slice(None),) * axis + (index,)
        sparse[here] = mask[here]
    return sparse


def segmentation(*masks: np.ndarray) -> Segmentation:
    """Return a segmentation with a layer and a segment of label value 5 for each mask."""
    layers = np.stack([mask * np.uint8(5) for mask in masks])
    segments = tuple(Segment(f"s{n}", f"s{n}", (1, 0, 0), 5, n) for n in range(len(masks)))
    return Segmentation(layers, Geometry(masks[0].shape[::-1], SPACING), segments)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("indices", [(17,), (12, 22), (9, 10, 11, 25), (8, 15, 20, 28)])
def test_axis_is_found(ball: np.ndarray, axis: int, indices: tuple[int, ...]) -> None:
    annotation, warnings = annotate(segmentation(painted(ball, *((axis, index) for index in indices))))
    assert (annotation.axis, annotation.painted, warnings) == (axis, indices, [])


def test_solid_block_is_guessed_with_a_warning(ball: np.ndarray) -> None:
    annotation, warnings = annotate(segmentation(ball))
    assert annotation.axis == 0 and len(annotation.painted) == 27
    assert "took axis 0 (k)" in warnings[0]
    assert annotate(segmentation(ball), axis=2)[0].axis == 2


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_two_axes_are_noticed(ball: np.ndarray, axes: tuple[int, int]) -> None:
    first, second = axes
    mixed = painted(ball, (first, 12), (first, 20), (second, 14), (second, 19), (second, 26))
    for axis in (None, first, second):
        with pytest.raises(BadInputError, match="two axes"):
            annotate(segmentation(mixed), axis)
    annotation, warnings = annotate(segmentation(mixed), second, painted_slices=[14, 19, 26])
    assert annotation.painted == (14, 19, 26) and "were ignored" in warnings[0]


def test_three_axes_are_noticed(ball: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="two axes"):
        annotate(segmentation(painted(ball, (0, 18), (1, 20), (2, 22))))


def test_thin_arms_are_not_taken_for_slices() -> None:
    cross = np.zeros((30, 30, 30), bool)
    cross[14:17, :, 14:17] = cross[:, 14:17, 14:17] = True
    check_one_axis(cross)
    check_one_axis(painted(cross, *((0, index) for index in range(2, 28, 4))))


@pytest.mark.parametrize("axis", range(3))
def test_real_structures(shared_data: Path, axis: int) -> None:
    """Three slices painted along an axis are accepted for every structure; five and five along two axes are not."""
    truth = read_segmentation(shared_data / "ct-multi-organ" / "labels.nii.gz")
    other = (axis + 1) % 3
    refused = tried = 0
    for segment in truth.segments:
        mask = truth.mask(segment)
        spans = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
        slices = [(axis, int(index)) for index in np.percentile(spans[axis], [15, 50, 85]).astype(int)]
        check_one_axis(painted(mask, *slices))
        assert find_painted_axis(painted(mask, *slices), (3.0, 3.0, 3.0))[0] == axis
        if min(map(len, spans)) < 12:
            continue
        tried += 1
        try:
            check_one_axis(
                painted(mask, *slices, *((other, int(index)) for index in np.percentile(spans[other], [30, 70])))
            )
        except BadInputError:
            refused += 1
    assert tried >= 10 and refused >= 0.9 * tried


def test_classes_of_a_slice_with_overlap(ball: np.ndarray) -> None:
    first, second = painted(ball, (1, 20), (1, 25)), np.zeros_like(ball)
    second[10:20, 20, 20:30] = True
    annotation, _ = annotate(segmentation(first, second), axis=1, empty_slices=[2, 39])
    assert annotation.painted == (20, 25) and annotation.empty == (2, 39) and annotation.exemplars == (2, 20, 25, 39)
    classes = annotation.classes(20)
    expected = np.where(first[:, 20] & second[:, 20], IGNORE, first[:, 20] + 2 * second[:, 20])
    assert classes.dtype == np.uint8 and np.array_equal(classes, expected)
    assert not annotation.classes(2).any()


def test_what_known_slices_rule_out_beside_them(ball: np.ndarray) -> None:
    """The first segment ends between 25 and 30, the second is on 30 only; their overlap is there nevertheless."""
    first, second = painted(ball, (0, 10), (0, 25)), painted(ball, (0, 30))
    second[10, 20, 22] = first[10, 20, 22] = True
    second[10] &= first[10]
    annotation, _ = annotate(segmentation(first, second), axis=0, empty_slices=[5])
    found = {index: set(annotation.ruled_out(index)) for index in (0, 5, 7, 10, 15, 26, 30, 35)}
    assert found == {0: {1, 2}, 5: {1, 2}, 7: set(), 10: set(), 15: set(), 26: set(), 30: {1}, 35: {1}}


def test_painted_slices_are_exactly_those_given(ball: np.ndarray) -> None:
    annotation, warnings = annotate(segmentation(ball), 0, [1], painted_slices=[20, 10, 35])
    assert annotation.painted == (10, 20) and annotation.empty == (1, 35)
    assert np.array_equal(annotation.segmentation.layers[0] > 0, painted(ball, (0, 10), (0, 20)))
    assert warnings == ["The labels on 25 slices not given as painted were ignored."]


def test_slices_that_cannot_be_meant(ball: np.ndarray) -> None:
    sparse = segmentation(painted(ball, (0, 10), (0, 20)))
    cases = {
        "declared empty but hold": {"empty_slices": [20]},
        "no slice 36": {"empty_slices": [36]},
        "no slice -1": {"painted_slices": [-1]},
        "None of the slices": {"painted_slices": [0]},
        "no axis 3": {"axis": 3},
    }
    for message, options in cases.items():
        with pytest.raises(BadInputError, match=message):
            annotate(sparse, **{"axis": 0, **options})
    with pytest.raises(BadInputError, match="no painted voxel"):
        annotate(segmentation(ball & False))
    many = tuple(Segment(str(n), str(n), (0, 0, 0), n + 1) for n in range(255))
    full = np.zeros_like(sparse.layers)
    full[0, 10, :15, :17] = np.arange(1, 256).reshape(15, 17)
    with pytest.raises(BadInputError, match="255 painted segments"):
        annotate(Segmentation(full, sparse.geometry, many))


def test_segments_that_are_only_listed_do_not_count(ball: np.ndarray) -> None:
    """As with a terminology of 300 organs, two of which are painted."""
    layers = np.where(painted(ball, (0, 10), (0, 20)), 7, 0).astype(np.uint16)[np.newaxis]
    layers[0, 10, 20, 20] = 299
    listed = tuple(Segment(str(n), str(n), (0, 0, 0), n) for n in range(1, 301))
    annotation, warnings = annotate(Segmentation(layers, Geometry((44, 40, 36), SPACING), listed))
    assert [segment.name for segment in annotation.segmentation.segments] == ["7", "299"]
    assert warnings == ["298 segments without any paint were left out."]


def test_a_part_knows_of_its_segments_what_the_whole_does(ball: np.ndarray) -> None:
    """A slice painted for another segment says that this one is absent; by itself it would say nothing."""
    other = np.roll(ball, 5, axis=2) & ~ball
    whole, _ = annotate(segmentation(painted(ball, (0, 8), (0, 12)), painted(other, (0, 8), (0, 12), (0, 16))), 0, [1])
    for label in (1, 2):
        part = whole.of([label])
        assert part.known == (whole.known[label - 1],)
        assert [each.name for each in part.segmentation.segments] == [whole.segmentation.segments[label - 1].name]
        for index in range(ball.shape[0]):
            assert part.sought(index) == (frozenset([1]) if label in whole.sought(index) else frozenset())
            assert np.array_equal(part.classes(index) == 1, whole.classes(index) == label)
    assert whole.of([2, 1]).known == whole.known[::-1]


def test_a_part_leaves_out_what_tells_nothing_of_it(ball: np.ndarray) -> None:
    """Slices that show none of a segment, between or beyond others that show none."""
    large, small = np.zeros_like(ball), np.zeros_like(ball)
    large[2:18, 3:9, 3:9], small[5:7, 12:15, 12:15] = True, True
    slices = [(0, index) for index in (3, 6, 9, 12, 15)]
    whole, _ = annotate(segmentation(painted(large, *slices), painted(small, *slices)), 0, [0, 19])
    assert whole.of([1]).exemplars == whole.exemplars == (0, 3, 6, 9, 12, 15, 19)
    part = whole.of([2])
    assert (part.painted, part.empty, part.exemplars) == ((3, 6, 9), (), (3, 6, 9))
    assert whole.of([1, 2]).exemplars == whole.exemplars
    assert [bool(part.sought(index)) for index in range(20)] == [2 in whole.sought(index) for index in range(20)]
