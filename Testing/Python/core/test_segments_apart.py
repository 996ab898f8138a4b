"""What is known of each segment when segments are painted on different slices."""

import numpy as np
import pytest

from FewShotSAMLib.core.annotation import Annotation, annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.facts import facts_lines, segmentation_facts
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plausibility import odd_painting, odd_slices
from FewShotSAMLib.core.segment import Segment, Segmentation

DEPTH = 40


def painted(*slices: tuple[int, ...], empty: tuple[int, ...] = (), **absent: tuple[int, ...]) -> Annotation:
    """Segments a, b, c, ..., each a square on different slices."""
    labels = np.zeros((1, DEPTH, 20, 24), np.uint8)
    for number, own in enumerate(slices):
        labels[0, list(own), 3:9, 4 * number : 4 * number + 4] = number + 1
    segments = tuple(Segment(name, name, (0, 0, 0), n) for n, name in enumerate("abc"[: len(slices)], start=1))
    return annotate(Segmentation(labels, Geometry((24, 20, DEPTH)), segments), 0, empty, None, absent)[0]


def test_a_slice_painted_for_others_leaves_unknown_what_lies_around_it() -> None:
    annotation = painted((4, 10, 16), (4, 16))
    assert annotation.exemplars == (4, 10, 16) and annotation.complete == (4, 16)
    assert annotation.known == ((4, 10, 16), (4, 16))
    assert annotation.unknown(10) == annotation.sought(10) == {2} and annotation.unknown(7) == {1, 2}


def test_painted_together_a_segment_has_ended_where_only_others_are() -> None:
    annotation = painted((4, 10), (4, 10, 16), (16,))
    assert annotation.complete == annotation.exemplars == (4, 10, 16)
    assert annotation.ruled_out(20) == {1} and annotation.ruled_out(2) == {3} and not annotation.sought(10)


def test_one_after_the_other_a_segment_has_ended_where_the_next_is() -> None:
    assert painted((4, 8), (12, 16)).known == ((4, 8, 12, 16), (4, 8, 12, 16))


def test_painted_one_by_one_each_segment_knows_its_own_slices_only() -> None:
    annotation = painted((4, 10, 16), (8, 13, 18), empty=(1,))
    assert annotation.known == ((1, 4, 10, 16), (1, 8, 13, 18)) and annotation.complete == (1,)
    assert annotation.sought(18) == {1} and annotation.sought(4) == {2} and annotation.ruled_out(0) == {1, 2}


def test_one_slice_in_common_makes_them_painted_together() -> None:
    annotation = painted((4, 10, 16), (8, 13, 16))
    assert annotation.known == ((4, 10, 16), (4, 8, 13, 16))


def test_a_segment_painted_nowhere_is_nowhere() -> None:
    annotation = painted((4, 10), ())
    assert annotation.complete == (4, 10) and annotation.ruled_out(6) == {2}


def test_none_of_one_segment_can_be_declared() -> None:
    annotation = painted((4, 10, 16), (4, 16), b=(10, 13), a=(20,))
    assert annotation.exemplars == (4, 10, 13, 16, 20) and annotation.complete == (4, 10, 16)
    assert annotation.absent == ((20,), (10, 13))
    assert annotation.unknown(13) == {1} and annotation.unknown(20) == {2}
    assert annotation.sought(11) == {1} and annotation.ruled_out(11) == {2} and annotation.ruled_out(20) == {1}


def test_what_cannot_be_declared() -> None:
    with pytest.raises(BadInputError, match="hold none of “b”"):
        painted((4, 10), (4,), b=(4,))
    with pytest.raises(BadInputError, match="no segment “spleen”"):
        painted((4, 10), (4,), spleen=(6,))
    with pytest.raises(BadInputError, match="no slice 40"):
        painted((4, 10), (4,), b=(40,))
    assert painted((4, 10), (4,), **{"2": (10,)}).absent == ((), (10,)), "a label value will do as well"


def test_the_user_is_told_of_slices_painted_for_others() -> None:
    assert odd_painting(painted((4, 10, 16), (4, 10, 16), (10, 16))) == []
    (warning,) = odd_painting(painted((4, 10, 16), (4, 16)))
    assert "“b” is not painted on slice 10" in warning and "empty of “b”" in warning
    assert odd_painting(painted((4, 10, 16), (4, 16), b=(10,))) == []


def test_stray_pixels_are_odd_even_at_the_end() -> None:
    assert odd_slices({4: 300, 9: 40, 16: 320}) == [9] and odd_slices({4: 60, 9: 400, 16: 50}) == []
    assert odd_slices({4: 1, 9: 400}) == [4] and odd_slices({9: 400, 16: 3, 20: 380}) == [16]
    assert odd_slices({4: 2}) == odd_slices({4: 2, 6: 9}) == odd_slices({}) == []


def test_inspect_tells_what_is_known_of_each_segment() -> None:
    facts = segmentation_facts(painted((4, 10, 16), (4, 16)).segmentation, "a.nrrd")
    assert [segment["unknown_slices"] for segment in facts["segments"]] == [[], [10]]
    lines = facts_lines(facts)
    assert any("b, 2 painted slices: 4, 16; unknown on 10, painted for others" in line for line in lines)
    assert not any("a, 3 painted slices: 4, 10, 16;" in line for line in lines)
