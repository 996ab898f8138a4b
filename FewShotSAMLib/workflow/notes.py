"""What the labels alone do not reveal about a segmentation's slices; it is stored with the segmentation."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from FewShotSAMLib.workflow.fingerprints import Fingerprints, Marks, marks_on

_VERSION = 1
_MOST_STATES = 12  # per slice: as many as the editor's Undo can restore, and a few more


@dataclass
class Notes:
    """What the user chose, and which results were written to which slices.

    axis: chosen by the user, None to detect it. absent: slices declared to contain none of one segment, by its id.
    applied: for each slice along `applied_axis` that results were written to, its states before and after: a slice
    that is in one of these states has not been painted on.
    """

    axis: int | None = None
    unticked: set[int] = field(default_factory=set)
    empty: set[int] = field(default_factory=set)
    absent: dict[str, set[int]] = field(default_factory=dict)
    applied: dict[int, tuple[Marks, ...]] = field(default_factory=dict)
    applied_axis: int | None = None

    def copy(self) -> Notes:
        """A copy for another thread, independent of this one."""
        absent = {each: set(slices) for each, slices in self.absent.items()}
        return Notes(self.axis, set(self.unticked), set(self.empty), absent, dict(self.applied), self.applied_axis)

    def is_ours(self, index: int, marks: Marks, segment_ids: Iterable[str]) -> bool:
        """Whether these segments hold on a slice what was written or, after Undo, what was there before.

        marks: of these segments and perhaps of others. All must match the same state: a user who erased one of two
        segments has worked on the slice.
        """
        ids = tuple(segment_ids)
        states = self.applied.get(index, ())
        return any(all(marks.get(each, 0) == state.get(each, 0) for each in ids) for state in states)

    def painted_ids(self, index: int, marks: Marks, segment_ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the segments on a slice that the user painted there.

        If only segments are painted that were never written to the slice, what was written is still a prediction.
        Otherwise a user who corrected one segment of a result has checked the whole slice.
        """
        ids = tuple(segment_ids)
        written = {each for state in self.applied.get(index, ()) for each in state}
        others = tuple(each for each in ids if not self.is_ours(index, marks, [each]))
        return others if others and not written.intersection(others) else ids

    def holds_results(self, prints: Fingerprints) -> bool:
        """Whether any segment, even a hidden one, still holds what was written to a slice."""
        return any(
            state.get(each) == mark
            for index, states in self.applied.items()
            for each, mark in marks_on(prints, index).items()
            for state in states
        )

    def note_applied(
        self, axis: int, before: Fingerprints, after: Fingerprints, written: Iterable[int], ids: Collection[str]
    ) -> None:
        """Remember that results were written to the segments `ids` on these slices, so that none counts as painted.

        Other segments there stay painted or predicted as they were, unless the writing changed them.
        """
        if self.applied_axis != axis:
            self.applied = {}
        self.applied_axis = axis
        for index in written:
            old, new = marks_on(before, index), marks_on(after, index)
            changed = {each for each in {*old, *new} if old.get(each) != new.get(each)}
            self._add_states(index, (old, new), {*ids, *changed})

    def note_changed(self, prints: Fingerprints, indices: Iterable[int], ids: Collection[str]) -> None:
        """Remember how the segments `ids` look on these slices now, so that they still count as predicted."""
        for index in indices:
            self._add_states(index, (marks_on(prints, index),), ids)

    def _add_states(self, index: int, states: Iterable[Marks], ids: Collection[str]) -> None:
        known = self.applied.get(index, ())
        for state in states:
            ours = {e: mark for e, mark in state.items() if e in ids or any(old.get(e) == mark for old in known)}
            known = (*(each for each in known if each != ours), ours)
        self.applied[index] = known[-_MOST_STATES:]

    def to_text(self) -> str:
        """The notes as one line of JSON. Segments are numbered, as their ids can be long."""
        ids = list(dict.fromkeys(each for states in self.applied.values() for state in states for each in state))
        number = {each: position for position, each in enumerate(ids)}
        applied = {
            str(index): [[part for each, mark in state.items() for part in (number[each], mark)] for state in states]
            for index, states in sorted(self.applied.items())
        }
        sets = {name: sorted(getattr(self, name)) for name in ("unticked", "empty")}
        axes = {"axis": self.axis, "applied_axis": self.applied_axis}
        absent = {each: sorted(slices) for each, slices in self.absent.items() if slices}
        content = {"version": _VERSION, **axes, "segments": ids, "applied": applied, **sets, "absent": absent}
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Notes:
        """Read what `to_text` returned; empty notes for any other text, such as a later version's."""
        try:
            content: dict[str, Any] = json.loads(text)
            if content["version"] != _VERSION:
                return cls()
            sets: dict[str, Any] = {name: {int(index) for index in content[name]} for name in ("unticked", "empty")}
            axes = {name: content[name] for name in ("axis", "applied_axis")}
            absent = {str(each): {int(index) for index in found} for each, found in content.get("absent", {}).items()}
            return cls(**axes, **sets, absent=absent, applied=_applied(content["segments"], content["applied"]))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError):
            return cls()


def _applied(segments: list[Any], applied: dict[str, Any]) -> dict[int, tuple[Marks, ...]]:
    ids = [str(each) for each in segments]
    return {
        int(index): tuple({ids[n]: int(mark) for n, mark in zip(s[::2], s[1::2], strict=True)} for s in states)
        for index, states in applied.items()
    }
