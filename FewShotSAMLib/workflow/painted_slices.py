"""Finds by itself which slices of a segmentation are painted, before and after results were applied to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.painted_axis import AXIS_NAMES, check_one_axis, find_painted_axis
from FewShotSAMLib.workflow.fingerprints import Fingerprints, fingerprints, marks_on
from FewShotSAMLib.workflow.notes import Notes
from FewShotSAMLib.workflow.scene import SceneSegment

_FEW, _MANY = 3, 10
"""An edit is no correction of single slices beyond this: a third of the predicted slices, within these two numbers."""


@dataclass(frozen=True)
class PaintedSlice:
    """A slice that the user worked on.

    ticked: whether it is complete and to be learned from. empty: it was declared to hold none of the segments.
    """

    index: int
    segment_ids: tuple[str, ...]
    ticked: bool = True
    empty: bool = False


@dataclass(frozen=True)
class Found:
    """What a look at the segments showed. axis is None while nothing is painted; problem: "" or what is wrong.

    fingerprints: of all segments, hidden ones too, where results were applied. predicted: slices that hold nothing of
    the visible segments but what was applied there, which may be nothing.
    """

    axis: int | None
    slices: tuple[PaintedSlice, ...]
    fingerprints: Fingerprints = field(default_factory=dict)
    predicted: frozenset[int] = frozenset()
    problem: str = ""
    warnings: tuple[str, ...] = ()


def find_painted_slices(
    segments: Sequence[SceneSegment], spacing_kji: tuple[float, float, float], notes: Notes
) -> Found:
    """The painted slices of the visible segments, and those declared empty.

    A slice with a label is painted, unless the label is what FewShotSAM wrote there itself. Nothing is changed and
    nothing but arrays is touched, so that it can run in another thread.
    """
    visible = [segment for segment in segments if segment.visible]
    prints: Fingerprints = {}
    if notes.applied_axis is not None and notes.applied:
        prints = fingerprints(segments, notes.applied_axis)
    try:
        axis, warnings = _axis(visible, spacing_kji, notes, prints)
    except BadInputError as error:
        return Found(None, (), prints, problem=str(error))
    if axis is None:
        return Found(None, (), prints)
    holders, own = _holders(visible, axis), set[int]()
    if axis == notes.applied_axis:
        ids = [segment.id for segment in visible]
        own = {index for index in notes.applied if notes.is_ours(index, marks_on(prints, index), ids)}
    painted = [index for index in holders if index not in own]
    slices = [PaintedSlice(index, holders[index], index not in notes.unticked) for index in painted]
    slices += [PaintedSlice(index, (), True, True) for index in notes.empty if index not in set(painted)]
    ordered = tuple(sorted(slices, key=lambda each: each.index))
    return Found(axis, ordered, prints, frozenset(own), "", tuple(warnings))


def _axis(
    visible: Sequence[SceneSegment], spacing_kji: tuple[float, float, float], notes: Notes, prints: Fingerprints
) -> tuple[int | None, list[str]]:
    """The axis along which is painted, None while nothing is, and warnings. Raises BadInputError.

    Where results are, it is theirs: seen along another axis, every slice would look painted.
    """
    if prints and notes.holds_results(prints):
        if notes.axis not in (None, notes.applied_axis):
            raise BadInputError(_other_axis(notes))
        return notes.applied_axis, []
    if notes.axis is not None:
        return notes.axis, []
    occupied = _occupied(visible)
    if not occupied.any():
        return None, []
    check_one_axis(occupied)
    return find_painted_axis(occupied, spacing_kji)


def _other_axis(notes: Notes) -> str:
    assert notes.axis is not None and notes.applied_axis is not None
    chosen, applied = AXIS_NAMES[notes.axis], AXIS_NAMES[notes.applied_axis]
    return (
        f"Axis {chosen} is chosen, but results were applied along axis {applied}. Choose {applied} or automatic; to "
        f"paint along {chosen}, take the results back by Undo, or make a new segmentation."
    )


def suddenly_painted(before: Found, after: Found) -> tuple[list[int], bool]:
    """Predicted slices that count as painted now, if they are more than somebody paints at a time; else none.

    And whether an edit did it: it may also be that a segment is shown that was hidden.
    """
    painted = [each.index for each in after.slices if not each.empty and each.index in before.predicted]
    if len(painted) <= max(_FEW, min(_MANY, len(before.predicted) // 3)):
        return [], False
    edited = [i for i in painted if marks_on(before.fingerprints, i) != marks_on(after.fingerprints, i)]
    return (edited, True) if 2 * len(edited) > len(painted) else (painted, False)


def _holders(segments: Iterable[SceneSegment], axis: int) -> dict[int, tuple[str, ...]]:
    """Slice index to the ids of the segments on it."""
    holders: dict[int, tuple[str, ...]] = {}
    for segment in segments:
        if not segment.labels.size:
            continue
        others = tuple(other for other in range(3) if other != axis)
        for index in np.flatnonzero((segment.labels == segment.label_value).any(axis=others)):
            place = int(index) + segment.offset[axis]
            holders[place] = (*holders.get(place, ()), segment.id)
    return dict(sorted(holders.items()))


def _occupied(segments: Sequence[SceneSegment]) -> np.ndarray:
    """Where any segment has a label, (k, j, i) bool of the box around all stored parts."""
    stored = [segment for segment in segments if segment.labels.size]
    if not stored:
        return np.zeros((0, 0, 0), bool)
    low = np.min([segment.offset for segment in stored], axis=0)
    high = np.max([np.add(segment.offset, segment.labels.shape) for segment in stored], axis=0)
    occupied = np.zeros(tuple(high - low), bool)
    for segment in stored:
        place = tuple(
            slice(start, start + length)
            for start, length in zip(np.subtract(segment.offset, low), segment.labels.shape, strict=True)
        )
        occupied[place] |= segment.labels == segment.label_value
    return occupied


def ticked_slices(slices: Iterable[PaintedSlice]) -> tuple[list[int], list[int]]:
    """The slices to learn from: painted ones and empty ones."""
    ticked = [each for each in slices if each.ticked]
    return [each.index for each in ticked if not each.empty], [each.index for each in ticked if each.empty]


def painted_by_segment(slices: Iterable[PaintedSlice]) -> Mapping[str, int]:
    """Segment id to the number of ticked slices on which it is painted."""
    counts: dict[str, int] = {}
    for each in slices:
        if each.ticked and not each.empty:
            for segment_id in each.segment_ids:
                counts[segment_id] = counts.get(segment_id, 0) + 1
    return counts
