"""Segments on different slices: what is complete where, what is predicted, and what is written."""

from typing import Any

import numpy as np
import pytest
from workflow.test_tracker import A, B, Tracked

from FewShotSAMLib.workflow.inputs import build_annotation
from FewShotSAMLib.workflow.notes import Notes
from FewShotSAMLib.workflow.painted_slices import PaintedSlice
from FewShotSAMLib.workflow.review import Review
from FewShotSAMLib.workflow.run import RunPlan, plan_run
from FewShotSAMLib.workflow.scene import Target
from FewShotSAMLib.workflow.settings import Settings

OF_A, OF_B = (7, 12, 17), (7, 17)


@pytest.fixture
def tracked(scene: Any) -> Tracked:
    """The first segment is painted on three slices, the second on the outer two of them."""
    made = Tracked(scene)
    made.draw(A, *OF_A)
    made.draw(B, *OF_B)
    made.look()
    return made


def rows(tracked: Tracked) -> dict[int, PaintedSlice]:
    return {each.index: each for each in tracked.tracker.found.slices}


def plan(tracked: Tracked) -> RunPlan:
    found, scene, target = tracked.tracker.found, tracked.scene, Target("v", "s")
    return plan_run(target, scene.volume("v"), scene.segments(target), found.slices, 0, None, Settings())


def predicted(tracked: Tracked) -> np.ndarray:
    """The truth as a result: the upper half is the first segment, the lower one the second."""
    return np.where(tracked.scene.halves[A], A, np.where(tracked.scene.halves[B], B, 0)).astype(np.uint8)


def write(tracked: Tracked, partly: dict[int, tuple[str, ...]]) -> list[int]:
    others = [index for index in range(5, 19) if index not in OF_A]
    return tracked.tracker.write(plan(tracked), predicted(tracked), others, partly)


def test_the_list_tells_what_is_complete_and_what_is_looked_for(tracked: Tracked) -> None:
    assert [each.segment_ids for each in rows(tracked).values()] == [("a", "b"), ("a",), ("a", "b")]
    assert [each.unknown_ids for each in rows(tracked).values()] == [(), ("b",), ()]
    tracked.tracker.set_ticked(17, False)
    assert rows(tracked)[12].unknown_ids == (), "beyond its own slices it has ended"
    assert plan(tracked).painted == {7: ("a", "b"), 12: ("a",)}


def test_none_of_one_segment_is_declared_and_kept(tracked: Tracked) -> None:
    tracked.tracker.set_empty(12, True, "b")
    tracked.tracker.set_empty(20, True, "b")
    assert rows(tracked)[12].absent_ids == ("b",) and rows(tracked)[12].unknown_ids == ()
    assert rows(tracked)[20] == PaintedSlice(20, (), absent_ids=("b",))
    before = rows(tracked)
    assert tracked.look() == [7, 12, 17, 20] and rows(tracked) == before
    assert plan(tracked).absent == {"a": [], "b": [12, 20]} and plan(tracked).empty == ()
    tracked.tracker = tracked.opened()
    tracked.look()
    assert rows(tracked) == before
    tracked.draw(B, 12)
    tracked.look()
    assert rows(tracked)[12].segment_ids == ("a", "b") and rows(tracked)[12].absent_ids == ()
    tracked.tracker.set_empty(20, False, "b")
    assert 20 not in rows(tracked)
    text = tracked.tracker.notes.to_text()
    assert (
        Notes.from_text(text).absent == {"b": {12}}
        and Notes.from_text(text.replace(',"absent":{"b":[12]}', "")).absent == {}
    )


def test_a_result_is_written_beside_what_is_painted_and_stays_a_prediction(tracked: Tracked) -> None:
    before = tracked.scene.labels[list(OF_A)].copy()
    assert len(write(tracked, {12: ("b",)})) == 12
    after = tracked.scene.labels[list(OF_A)]
    np.testing.assert_array_equal(after == A, before == A)
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(after[1] == B, tracked.scene.halves[B][12])
    assert len(tracked.scene.undo) == 1
    assert tracked.look() == list(OF_A)
    assert rows(tracked)[12].segment_ids == ("a",) and rows(tracked)[12].unknown_ids == ("b",)
    annotation = build_annotation(plan(tracked).segments, tracked.scene.geometry, 0, plan(tracked).painted)
    assert not (annotation.layers[:, 12] == B).any() and (annotation.layers[:, 7] == B).any()
    tracked.scene.labels[12, 38, 2:6] = B
    tracked.look()
    assert rows(tracked)[12].segment_ids == ("a", "b"), "corrected, it is painted"
    tracked.scene.labels[:] = tracked.scene.undo[0]
    tracked.look()
    assert rows(tracked)[12].segment_ids == ("a",)


def test_what_was_painted_or_declared_since_is_not_written_over(tracked: Tracked) -> None:
    asked = plan(tracked)
    tracked.scene.labels[12, 30, 20:24] = B
    before = tracked.scene.labels[12].copy()
    assert tracked.tracker.write(asked, predicted(tracked), [10], {12: ("b",)}) == [10]
    np.testing.assert_array_equal(tracked.scene.labels[12], before)
    tracked.scene.labels[12][tracked.scene.labels[12] == B] = 0
    tracked.tracker.set_empty(12, True, "b")
    assert tracked.tracker.write(asked, predicted(tracked), [10], {12: ("b",)}) == [10]
    assert not (tracked.scene.labels[12] == B).any()


def test_what_was_predicted_goes_where_none_of_it_is_declared(tracked: Tracked) -> None:
    write(tracked, {12: ("b",)})
    tracked.look()
    kept = tracked.scene.labels[12] == A
    tracked.tracker.set_empty(12, True, "b")
    tracked.tracker.set_empty(12, True, "a")
    tracked.look()
    assert rows(tracked)[12].absent_ids == ("b",) and rows(tracked)[12].segment_ids == ("a",)
    np.testing.assert_array_equal(tracked.scene.labels[12], np.where(kept, A, 0))
    tracked.tracker.set_empty(10, True, "a")
    tracked.look()
    assert rows(tracked)[10] == PaintedSlice(10, (), absent_ids=("a",)), "the rest of it is predicted still"


def test_a_slice_that_is_not_complete_may_be_painted_next(tracked: Tracked) -> None:
    review = Review(0, (), (7, 12, 10), None, "")
    assert review.next_slice(tracked.tracker.found.slices) == 12
    tracked.tracker.set_empty(12, True, "b")
    tracked.tracker.set_empty(10, True, "b")
    assert review.next_slice(tracked.tracker.found.slices) == 10


def test_a_stray_pixel_is_named(tracked: Tracked) -> None:
    tracked.scene.labels[9, 30, 20] = B
    tracked.look()
    assert rows(tracked)[9].odd_ids == ("b",) and not any(rows(tracked)[index].odd_ids for index in OF_A)
    tracked.tracker.set_ticked(9, False)
    tracked.look()
    assert not rows(tracked)[9].odd_ids and not rows(tracked)[9].unknown_ids


def test_a_segment_is_written_beside_another_that_is_painted(stage: Any) -> None:
    session, scene = stage.session, stage.scene
    for index in (7, 17):
        scene.labels[index, 30:36, 10:30] = 2
    stage.edited()
    assert session.painted[1].unknown_ids == ("b",)
    painted = scene.labels.copy()
    stage.propagate()
    assert any("“Segment b” is not painted on slice 12" in message.text for message in stage.messages)
    session.apply()
    assert ((scene.labels[12] == 1) == (painted[12] == 1)).all() and (scene.labels[[7, 17]] == painted[[7, 17]]).all()
    stage.settle()
    assert [each.segment_ids for each in session.painted] == [("a", "b"), ("a",), ("a", "b")]
    session.set_empty(12, True, "b")
    assert not (scene.labels[12] == 2).any() and session.painted[1].absent_ids == ("b",)
    assert not stage.errors
