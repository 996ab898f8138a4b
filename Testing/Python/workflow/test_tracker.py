"""Which slices count as painted after Apply: no prediction becomes an example, no stroke is forgotten."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.workflow import Message, Target
from FewShotSAMLib.workflow.fingerprints import fingerprints
from FewShotSAMLib.workflow.notes import Notes
from FewShotSAMLib.workflow.tracker import PaintingTracker

A, B = 1, 2
PAINTED = [7, 12, 17]
RESULT = [index for index in range(5, 19) if index not in PAINTED]


class Inline(Executor):
    """Executes at once what it is given."""

    def submit(self, function: Callable[..., Any], /, *values: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*values, **named))
        return future


class Tracked:
    """Segments "a", the ellipsoid's upper half, and "b", its lower one: painted on three slices, and predicted."""

    def __init__(self, scene: Any) -> None:
        self.scene, self.said = scene, list[Message]()
        scene.halves = {A: scene.truth.copy(), B: scene.truth.copy()}
        scene.halves[A][:, 20:], scene.halves[B][:, :20] = False, False
        self.tracker = self.opened()

    def opened(self) -> PaintingTracker:
        """Return a separate tracker, as after loading the scene."""
        tracker = PaintingTracker(self.scene, Inline(), self.said.append)
        tracker.set_target(Target("v", "s"))
        return tracker

    def draw(self, value: int, *indices: int) -> None:
        for index in indices:
            self.scene.labels[index][self.scene.halves[value][index]] = value

    def look(self) -> list[int]:
        """Return the painted slices to learn from, found as after an edit."""
        self.tracker.look_soon()
        self.tracker.poll(is_urgent=True)
        self.tracker.poll()
        return [each.index for each in self.tracker.found.slices if each.ticked]

    def apply(self, *values: int, indices: list[int] = RESULT) -> None:
        """Write the halves of these values as if they had been predicted."""
        written = self.tracker.writable(indices, 0)
        before = self.tracker.fingerprints(0)
        self.draw_all(values, written)
        self.tracker.remember_applied(0, before, written, ["ab"[value - 1] for value in values])

    def draw_all(self, values: tuple[int, ...], indices: list[int]) -> None:
        for value in values:
            self.draw(value, *indices)

    def show(self, **visible: bool) -> None:
        self.scene.visible.update(visible)


@pytest.fixture
def tracked(scene: Any) -> Tracked:
    made = Tracked(scene)
    made.draw_all((A, B), PAINTED)
    assert made.look() == PAINTED
    return made


def test_predictions_stay_predictions_whichever_segments_are_shown(tracked: Tracked) -> None:
    tracked.apply(A, B)
    assert tracked.look() == PAINTED
    tracked.show(b=False)
    assert tracked.look() == PAINTED
    tracked.scene.labels[9, 2, 20:24] = A
    assert tracked.look() == [7, 9, 12, 17]
    tracked.show(a=False, b=True)
    assert tracked.look() == PAINTED
    tracked.show(a=True)
    assert tracked.look() == [7, 9, 12, 17]
    assert not tracked.said


def test_predictions_stay_predictions_after_a_segment_is_deleted(tracked: Tracked) -> None:
    tracked.apply(A, B)
    tracked.scene.labels[tracked.scene.labels == B] = 0
    tracked.scene.removed.add("b")
    assert tracked.look() == PAINTED
    tracked.scene.labels[9, 20, 20:24] = A
    assert tracked.look() == [7, 9, 12, 17]


def test_one_of_two_segments_erased_is_a_correction(tracked: Tracked) -> None:
    """It is what this segment was before Apply, but the other one is not."""
    tracked.apply(A, B)
    assert tracked.look() == PAINTED
    slice_ = tracked.scene.labels[9]
    slice_[slice_ == A] = 0
    assert tracked.look() == [7, 9, 12, 17]


def test_what_was_painted_in_a_hidden_segment_counts_when_it_is_shown(tracked: Tracked) -> None:
    tracked.draw(B, 10)
    tracked.show(b=False)
    tracked.apply(A)
    assert tracked.look() == PAINTED
    tracked.show(b=True)
    assert tracked.look() == [7, 10, 12, 17]


def test_slices_painted_in_one_segment_are_predicted_in_the_other(tracked: Tracked) -> None:
    """Spleen is painted and applied, then hidden for the liver: shown alone, its predictions are not exemplars."""
    tracked.apply(B, indices=[*RESULT, 19])
    tracked.show(b=False)
    tracked.draw(A, 9, 14)
    assert tracked.look() == [7, 9, 12, 14, 17]
    tracked.apply(A)
    tracked.show(a=False, b=True)
    assert tracked.look() == PAINTED


def test_undo_of_several_results(tracked: Tracked) -> None:
    states = []
    for place in (20, 21, 22):
        states.append(tracked.scene.labels.copy())
        tracked.apply(A, B)
        tracked.scene.halves[A][:, place, 10:12] = True
        assert tracked.look() == PAINTED
    for labels in reversed(states):
        tracked.scene.labels = labels
        assert tracked.look() == PAINTED


def test_another_axis_and_back_keeps_what_is_known(tracked: Tracked) -> None:
    tracked.apply(A, B)
    assert tracked.look() == PAINTED
    for axis in (0, None, 1, None):
        tracked.tracker.set_axis(axis)
        found = tracked.look()
        if axis == 1:
            assert not found and "along axis k" in tracked.tracker.found.problem
        else:
            assert found == PAINTED
    tracked.tracker = tracked.opened()
    assert tracked.look() == PAINTED


def test_another_axis_is_free_after_undo(tracked: Tracked) -> None:
    painted = tracked.scene.labels.copy()
    tracked.apply(A, B)
    tracked.scene.labels = painted
    tracked.tracker.set_axis(1)
    assert tracked.look() and not tracked.tracker.found.problem


def test_a_result_is_not_applied_over_strokes_along_another_axis(tracked: Tracked) -> None:
    tracked.scene.paint(20, axis=1)
    tracked.scene.paint(26, axis=1)
    with pytest.raises(BadInputError, match="not applied"):
        tracked.tracker.writable(RESULT, 0)
    tracked.tracker.set_axis(0)
    kept = {index for index in RESULT if tracked.scene.labels[index].any()}
    assert kept and not kept & set(tracked.tracker.writable(RESULT, 0))
    tracked.tracker.set_axis(1)
    with pytest.raises(BadInputError, match="another axis"):
        tracked.tracker.writable(RESULT, 0)


def test_a_clean_up_of_all_slices_is_no_correction_and_is_told(tracked: Tracked) -> None:
    tracked.apply(A, B)
    tracked.look()
    tracked.scene.labels[9, 25:28, 25:28] = A
    assert tracked.look() == [7, 9, 12, 17]
    applied = tracked.scene.labels.copy()
    tracked.scene.labels[RESULT, 20, :] = 0
    assert tracked.look() == [7, 9, 12, 17]
    assert ["changed at once" in message.text for message in tracked.said] == [True]
    assert f"{len(RESULT) - 1} slices" in tracked.said[0].text
    tracked.scene.labels[10, 25:28, 25:28] = A
    assert tracked.look() == [7, 9, 10, 12, 17], "a correction still counts"
    tracked.scene.labels = applied  # Undo
    assert tracked.look() == [7, 9, 12, 17]
    tracked.tracker = tracked.opened()
    assert tracked.look() == [7, 9, 12, 17]
    assert len(tracked.said) == 1


def test_a_stroke_through_a_few_slices_is_a_correction(tracked: Tracked) -> None:
    tracked.apply(A, B)
    tracked.look()
    tracked.scene.labels[8:11, 20, 20:24] = A
    assert tracked.look() == [7, 8, 9, 10, 12, 17]
    assert not tracked.said


def test_many_slices_painted_in_a_segment_that_is_shown_again_are_told(tracked: Tracked) -> None:
    tracked.draw(B, *RESULT)
    tracked.show(b=False)
    tracked.look()
    tracked.apply(A)
    assert tracked.look() == PAINTED
    tracked.show(b=True)
    assert tracked.look() == sorted([*PAINTED, *RESULT])
    assert ["hidden segment was shown" in message.text for message in tracked.said] == [True]


def test_notes_come_back_from_their_text(tracked: Tracked) -> None:
    tracked.tracker.set_axis(0)
    tracked.tracker.set_empty(2, True)
    tracked.tracker.set_ticked(12, False)
    tracked.apply(A, B)
    notes = tracked.tracker.notes
    assert notes.applied
    assert Notes.from_text(notes.to_text()) == notes
    assert notes.applied.keys() == set(RESULT)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "axis": 1}'])
def test_other_notes_are_none(text: str) -> None:
    assert Notes.from_text(text) == Notes()


def test_looking_does_not_read_what_is_changed_meanwhile(tracked: Tracked) -> None:
    notes = tracked.tracker.notes
    other = notes.copy()
    notes.empty.add(3)
    notes.unticked.add(4)
    notes.applied[5] = ()
    assert other == Notes(axis=notes.axis)


def test_the_same_labels_have_the_same_fingerprint_however_they_are_stored(tracked: Tracked) -> None:
    (first, _) = tracked.scene.segments(Target("v", "s"))
    marks = fingerprints([first], 1)["a"]
    assert sorted(marks) == sorted(np.flatnonzero((tracked.scene.labels == A).any(axis=(0, 2))))
