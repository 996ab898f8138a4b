"""Keeps the list of painted slices up to date while the user paints, without blocking the user interface."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.painted_axis import AXIS_NAMES
from FewShotSAMLib.workflow.fingerprints import Fingerprints, fingerprints, marks_on
from FewShotSAMLib.workflow.message import WARNING, Message
from FewShotSAMLib.workflow.notes import Notes
from FewShotSAMLib.workflow.painted_slices import (
    PaintedSlice,
    PaintedState,
    find_painted_slices,
    suddenly_painted,
    with_absent,
    with_unknown,
)
from FewShotSAMLib.workflow.run import RunPlan
from FewShotSAMLib.workflow.scene import Scene, SceneSegment, Target

Partly = Mapping[int, tuple[str, ...]]
"""Maps slice index to ids of segments."""
QUIET_S = 0.25
"""A stroke changes the segmentation many times; the slices are searched once nothing has changed for this long."""
_NOTHING = PaintedState(None, ())
_CHANGED_AT_ONCE = "{0} slices with applied results were changed at once. They still count as predicted, not painted."
_HOW_TO_CORRECT = "The next result replaces them. To add slices to learn from, correct only a few at a time."
_SHOWN_AT_ONCE = "{0} slices with applied results now count as painted, because a hidden segment was shown."
_HOW_TO_LEAVE_OUT = "Hide it again, or untick slices on which the other segments are not complete."


class PaintingTracker:
    """The painted slices of one target. The search runs in `executor`; `poll` takes over its results.

    say: receives messages for the user.
    """

    def __init__(self, scene: Scene, executor: Executor, say: Callable[[Message], None]) -> None:
        self._scene, self._executor, self._say = scene, executor, say
        self._target: Target | None = None
        self._modified_at: float | None = None
        self._search: Future[PaintedState] | None = None
        self.notes = Notes()
        self.found = _NOTHING

    @property
    def is_up_to_date(self) -> bool:
        """Whether `found` describes the segmentation as it is now."""
        return self._modified_at is None and self._search is None

    @property
    def search(self) -> Future[PaintedState] | None:
        """The search in another thread, None if there is none."""
        return self._search

    def set_target(self, target: Target | None) -> None:
        """Watch another segmentation, or none."""
        self._target, self._search, self.found, self.notes = target, None, _NOTHING, Notes()
        self._modified_at = None
        if target is not None:
            self.notes = Notes.from_text(self._scene.note(target.segmentation))
            self.look_soon(0.0)

    def look_soon(self, quiet_s: float = QUIET_S) -> None:
        """Search again after a change, once nothing has changed for `quiet_s`."""
        if self._target is not None:
            self._modified_at = time.monotonic() + quiet_s - QUIET_S

    def poll(self, is_urgent: bool = False) -> bool:
        """Start a search that is due (at once if urgent) and take over one that is done; True if the list changed.

        Raises BadInputError if the segmentation does not fit the volume.
        """
        changed = self._take_over() if self._search is not None and self._search.done() else False
        is_due = self._modified_at is not None and (is_urgent or time.monotonic() - self._modified_at >= QUIET_S)
        if is_due and self._search is None:
            self._modified_at = None
            self._search = self._executor.submit(find_painted_slices, *self._question())
        return changed

    def look_now(self) -> PaintedState:
        """The painted slices at this moment; blocks until they are found. Raises BadInputError."""
        self._modified_at, self._search = None, None
        self._accept(find_painted_slices(*self._question()))
        return self.found

    def writable(self, predicted: Iterable[int], axis: int) -> list[int]:
        """Those of the predicted slices along `axis` that are not painted at this moment; blocks like `look_now`.

        Raises BadInputError if slices are painted along another axis, or two: then it is unknown which ones to spare.
        """
        found = self.look_now()
        if found.problem or found.axis not in (None, axis):
            name = AXIS_NAMES[axis]
            reason = found.problem or f"Slices are now painted along another axis than that of the result ({name})."
            raise BadInputError(
                f"The result was not applied: {reason}",
                f"Undo the latest painting, choose axis {name}, or discard the result.",
            )
        kept = {each.index for each in found.slices if each.ticked}
        return [index for index in predicted if index not in kept]

    def write(self, plan: RunPlan, classes: np.ndarray, predicted: Iterable[int], partly: Partly) -> list[int]:
        """Write a result into the segments, except where painted, as one step of Undo; returns the slices written to.

        classes, predicted, partly: those of the run. Raises BadInputError as `writable` and `Scene.commit` do.
        """
        ids, axis = plan.segment_ids, plan.axis
        written = self.writable(predicted, axis)
        now = {each.index: each for each in self.found.slices if each.ticked}
        known = {i: (*each.segment_ids, *each.absent_ids, *(ids if each.empty else ())) for i, each in now.items()}
        left = {index: [one for one in wanted if one not in known.get(index, ())] for index, wanted in partly.items()}
        left = {index: wanted for index, wanted in left.items() if wanted}
        before = self.fingerprints(axis)
        spared = {each: [index for index, wanted in left.items() if each not in wanted] for each in ids}
        self._scene.commit(plan.target, ids, classes, axis, [*written, *left], spared)
        self.remember_applied(axis, before, written, ids, left)
        return [*written, *left]

    def fingerprints(self, axis: int) -> Fingerprints:
        """The marks of all segments on each slice now."""
        assert self._target is not None
        return fingerprints(self._scene.segments(self._target), axis)

    def why_not(self, range_: tuple[int, int] | None) -> str:
        """Why nothing can be propagated within this range, and what to do; "" if it can."""
        if self._target is None:
            return "Choose a volume and a segmentation first."
        if self.found.axis is None and not self.is_up_to_date:
            return "Looking for painted slices."
        return why_no_exemplars(self.found, range_)

    def visible_segments(self) -> list[SceneSegment]:
        """The segments that take part; hidden ones do not. Raises BadInputError."""
        assert self._target is not None
        return [segment for segment in self._scene.segments(self._target) if segment.visible]

    def set_axis(self, axis: int | None) -> None:
        """Set the painted axis; None to detect it. Notes about another axis are kept, in case the choice is a slip."""
        self.notes.axis = axis
        self._keep_notes()
        self.look_soon(0.0)

    def set_ticked(self, index: int, ticked: bool) -> None:
        """Set whether a painted slice is complete, so that it is learned from."""
        (self.notes.unticked.discard if ticked else self.notes.unticked.add)(index)
        slices = [replace(s, ticked=ticked) if s.index == index and not s.empty else s for s in self.found.slices]
        self._change(self._with_notes(slices))

    def set_empty(self, index: int, empty: bool, segment_id: str | None = None) -> None:
        """Declare that a slice contains none of the segments, or none of the one given, or undo that; painted slices
        cannot be empty. What was predicted of the one segment there is erased. Raises BadInputError."""
        if segment_id is not None:
            self._set_absent(index, empty, segment_id)
            return
        kept = [each for each in self.found.slices if not (each.index == index and each.empty)]
        (self.notes.empty.add if empty else self.notes.empty.discard)(index)
        if empty and all(each.index != index for each in kept):
            kept.append(PaintedSlice(index, (), True, True))
        self._change(tuple(sorted(kept, key=lambda each: each.index)))

    def _set_absent(self, index: int, absent: bool, segment_id: str) -> None:
        if self._target is None or self.found.axis is None:
            return
        axis, is_held = self.found.axis, index in self.fingerprints(self.found.axis).get(segment_id, {})
        if is_held and any(each.index == index and segment_id in each.segment_ids for each in self.found.slices):
            return  # painted there since the user was asked
        if absent and is_held:
            self._scene.clear_slice(self._target, [segment_id], axis, index)
            if index in self.found.predicted:  # and the other segments there still are
                ids = [segment.id for segment in self.visible_segments()]
                self.notes.note_changed(self.fingerprints(axis), [index], ids)
        slices = self.notes.absent.setdefault(segment_id, set())
        (slices.add if absent else slices.discard)(index)
        self._change(self._with_notes(self.found.slices))

    def delete_slice(self, index: int) -> None:
        """Erase the visible segments on a slice, which is then neither painted nor empty. Raises BadInputError."""
        if self._target is None or self.found.axis is None:
            return
        ids = [segment.id for segment in self.visible_segments()]
        if not any(each.index == index and each.absent_ids and not each.segment_ids for each in self.found.slices):
            self._scene.clear_slice(self._target, ids, self.found.axis, index)
        for known in (self.notes.unticked, self.notes.empty):
            known.discard(index)
        for each in ids:
            self.notes.absent.get(each, set()).discard(index)
        self._keep_notes()
        self.look_soon(0.0)

    def remember_applied(
        self,
        axis: int,
        before: Fingerprints,
        written: Collection[int],
        ids: Collection[str],
        partly: Mapping[int, Collection[str]] | None = None,
    ) -> None:
        """Remember that results were written to these slices: they do not count as painted until the user paints there.

        axis, before: the slices' axis, and `fingerprints` from before. ids: of the segments written to; partly: of
        those written to slices that are painted for others.
        """
        after = self.fingerprints(axis)
        self.notes.note_applied(axis, before, after, written, ids)
        for index, found in (partly or {}).items():
            self.notes.note_applied(axis, before, after, [index], found)
        visible = [segment.id for segment in self.visible_segments()]
        ours = [index for index in written if self.notes.is_ours(index, marks_on(after, index), visible)]
        self.notes.unticked.difference_update(ours)  # whoever paints on them now corrects them
        self._keep_notes()
        self.look_soon(0.0)

    def add(self, volume_id: str, axis: int, bring_in: Callable[[], str]) -> str:
        """Add a finished result of a volume; `bring_in` returns the id of the segmentation that it was added to.

        If that is the tracked one, what was added does not count as painted; slices that the user painted still do.
        axis: that of the result, used if nothing is painted yet. Raises what `bring_in` does, and BadInputError.
        """
        if self._target is None or volume_id != self._target.volume:
            return bring_in()
        axis = axis if self.found.axis is None else self.found.axis
        before = self.fingerprints(axis)
        segmentation_id = bring_in()
        if segmentation_id == self._target.segmentation:
            self._remember_added(axis, before)
        return segmentation_id

    def _remember_added(self, axis: int, before: Fingerprints) -> None:
        after = self.fingerprints(axis)
        slices = {index for prints in (before, after) for marks in prints.values() for index in marks}
        written = [index for index in slices if marks_on(before, index) != marks_on(after, index)]
        self.remember_applied(axis, before, written, ())

    def _question(self) -> tuple[list[SceneSegment], tuple[float, float, float], Notes]:
        assert self._target is not None
        geometry = self._scene.volume(self._target.volume).geometry
        return self._scene.segments(self._target), geometry.spacing_kji, self.notes.copy()

    def _take_over(self) -> bool:
        assert self._search is not None
        search, self._search = self._search, None
        before = self.found
        self._accept(search.result())
        return before != self.found

    def _accept(self, found: PaintedState) -> None:
        """Take over what was found. Slices that one edit changed in bulk stay predicted, and the user is told."""
        sudden, by_edit = suddenly_painted(self.found, found)
        self.found = found
        if sudden and by_edit:
            visible = [segment.id for segment in self.visible_segments()]
            self.notes.note_changed(found.fingerprints, sudden, visible)
            self._keep_notes()
            kept = tuple(each for each in found.slices if each.index not in sudden)
            self.found = replace(found, slices=kept, predicted=found.predicted.union(sudden))
            self._say(Message(WARNING, _CHANGED_AT_ONCE.format(len(sudden)), _HOW_TO_CORRECT))
        elif sudden:
            self._say(Message(WARNING, _SHOWN_AT_ONCE.format(len(sudden)), _HOW_TO_LEAVE_OUT))

    def _with_notes(self, slices: Iterable[PaintedSlice]) -> tuple[PaintedSlice, ...]:
        """The slices with the current declarations about single segments."""
        ids = [segment.id for segment in self.visible_segments()]
        known = [replace(each, absent_ids=()) for each in slices if each.segment_ids or each.empty]
        return tuple(with_unknown(with_absent(known, ids, self.notes), ids))

    def _change(self, slices: tuple[PaintedSlice, ...]) -> None:
        self.found = replace(self.found, slices=slices)
        self._keep_notes()
        self.look_soon(0.0)

    def _keep_notes(self) -> None:
        if self._target is not None and self._scene.exists(self._target.segmentation):
            self._scene.set_note(self._target.segmentation, self.notes.to_text())


def why_no_exemplars(found: PaintedState, range_: tuple[int, int] | None) -> str:
    """Why nothing can be learned from these painted slices; "" if it can."""
    if found.problem:
        return found.problem
    painted = [each for each in found.slices if each.segment_ids]
    if not painted:
        return "Paint the structure on a few slices first; three spread over its extent are a good start."
    if not any(each.ticked for each in painted):
        return "All painted slices are unticked. Tick those that are complete."
    if range_ is not None and range_[0] > range_[1]:
        return "The slice range ends before it begins. Correct it."
    return ""


class PaintingMixin:
    """A part of `Session`: the painted slices that were found."""

    _tracker: PaintingTracker

    @property
    def found(self) -> PaintedState:
        """The result of the last search."""
        return self._tracker.found

    @property
    def painted(self) -> tuple[PaintedSlice, ...]:
        """Painted and empty slices, sorted."""
        return self._tracker.found.slices

    @property
    def axis(self) -> int | None:
        """The array axis along which slices are painted, None while unknown."""
        return self._tracker.found.axis

    @property
    def chosen_axis(self) -> int | None:
        """The axis that the user chose, None if it is detected from what is painted."""
        return self._tracker.notes.axis
