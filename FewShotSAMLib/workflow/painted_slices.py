"""Detects which slices of a segmentation are painted, before and after results were applied to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from FewShotSAMLib.core.annotation import known_on_painted
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.painted_axis import AXIS_NAMES, check_one_axis, find_painted_axis
from FewShotSAMLib.core.plausibility import fills_volume, odd_slices
from FewShotSAMLib.workflow.fingerprints import Fingerprints, fingerprints, marks_on
from FewShotSAMLib.workflow.notes import Notes
from FewShotSAMLib.workflow.scene import SceneSegment

_FEW, _MANY = 3, 10
"""The most slices that an edit by hand changes: a third of the predicted slices, clamped to these two numbers."""


@dataclass(frozen=True)
class PaintedSlice:
    """A slice that the user worked on.

    segment_ids: the segments painted on it; none if it was only declared to be without some. ticked: whether they are
    complete there, so that they are learned from. empty: declared to contain none of the segments. absent_ids: segments
    that it was declared not to contain. unknown_ids: segments to be predicted on it, as only others are painted there.
    odd_ids: segments of which suspiciously little is painted there.
    """

    index: int
    segment_ids: tuple[str, ...]
    ticked: bool = True
    empty: bool = False
    absent_ids: tuple[str, ...] = ()
    unknown_ids: tuple[str, ...] = ()
    odd_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaintedState:
    """The result of a search for painted slices. axis: None while nothing is painted; problem: "" or what is wrong.

    fingerprints: of all segments, hidden ones too, if results were applied. predicted: slices on which the visible
    segments hold only what was applied there, which may be nothing. fills: number of voxels with a label, if these fill
    the whole box around them and nothing was applied; else 0.
    """

    axis: int | None
    slices: tuple[PaintedSlice, ...]
    fingerprints: Fingerprints = field(default_factory=dict)
    predicted: frozenset[int] = frozenset()
    problem: str = ""
    warnings: tuple[str, ...] = ()
    fills: int = 0


def find_painted_slices(
    segments: Sequence[SceneSegment], spacing_kji: tuple[float, float, float], notes: Notes
) -> PaintedState:
    """The painted slices of the visible segments, and those declared empty.

    A slice with a label is painted, unless FewShotSAM itself wrote the label there. Only reads arrays, so it can run
    in another thread.
    """
    visible = [segment for segment in segments if segment.visible]
    prints: Fingerprints = {}
    if notes.applied_axis is not None and notes.applied:
        prints = fingerprints(segments, notes.applied_axis)
    try:
        axis, warnings = _axis(visible, spacing_kji, notes, prints)
    except BadInputError as error:
        return PaintedState(None, (), prints, problem=str(error))
    if axis is None:
        return PaintedState(None, (), prints)
    areas, own = _areas(visible, axis), set[int]()
    holders = {index: tuple(held) for index, held in areas.items()}
    ids = [segment.id for segment in visible]
    if axis == notes.applied_axis:
        own = {index for index in notes.applied if notes.is_ours(index, marks_on(prints, index), ids)}
        holders = {i: notes.painted_ids(i, marks_on(prints, i), held) for i, held in holders.items() if i not in own}
    slices = [PaintedSlice(index, held, index not in notes.unticked) for index, held in holders.items()]
    slices += [PaintedSlice(index, (), True, True) for index in notes.empty if index not in holders]
    slices = with_unknown(with_absent(slices, ids, notes), ids)
    slices = _with_odd(slices, {each.index: areas[each.index] for each in slices if each.segment_ids})
    fills = 0 if own else _filling(visible, sum(sum(each.values()) for each in areas.values()))
    return PaintedState(axis, tuple(slices), prints, frozenset(own), "", tuple(warnings), fills)


def with_absent(slices: Iterable[PaintedSlice], ids: Sequence[str], notes: Notes) -> list[PaintedSlice]:
    """The slices, sorted, with the declarations about single segments; slices with nothing else are added."""
    by_index = {each.index: each for each in slices}
    for each in ids:
        for index in notes.absent.get(each, ()):
            known = by_index.get(index, PaintedSlice(index, ()))
            if not known.empty and each not in (*known.segment_ids, *known.absent_ids):
                by_index[index] = replace(known, absent_ids=(*known.absent_ids, each))
    return [by_index[index] for index in sorted(by_index)]


def with_unknown(slices: Iterable[PaintedSlice], ids: Sequence[str]) -> list[PaintedSlice]:
    """The slices with the segments to be predicted on them, which depends on the ticks (`core.annotation`)."""
    found = list(slices)
    painted = [each for each in found if each.ticked and each.segment_ids]
    shown = np.array([[one in each.segment_ids for each in painted] for one in ids], bool).reshape(len(ids), -1)
    if not shown.any():
        return [replace(each, unknown_ids=()) for each in found]
    known = known_on_painted(shown, np.array([each.index for each in painted])) | ~shown.any(axis=1, keepdims=True)
    unknown = {
        each.index: tuple(
            one for one, is_known in zip(ids, column, strict=True) if not is_known and one not in each.absent_ids
        )
        for each, column in zip(painted, known.T, strict=True)
    }
    return [replace(each, unknown_ids=unknown.get(each.index, ())) for each in found]


def _with_odd(slices: Iterable[PaintedSlice], areas: Mapping[int, Mapping[str, int]]) -> list[PaintedSlice]:
    """The slices with the segments that are odd on them; areas: pixels of each segment on each painted slice."""
    found = list(slices)
    odd: dict[int, tuple[str, ...]] = {}
    for one in sorted({one for each in found for one in each.segment_ids}):
        held = {each.index: areas[each.index][one] for each in found if one in each.segment_ids and each.ticked}
        for index in odd_slices(held):
            odd[index] = (*odd.get(index, ()), one)
    return [replace(each, odd_ids=odd.get(each.index, ())) for each in found]


def _axis(
    visible: Sequence[SceneSegment], spacing_kji: tuple[float, float, float], notes: Notes, prints: Fingerprints
) -> tuple[int | None, list[str]]:
    """The axis along which slices are painted, None while none is, and warnings. Raises BadInputError.

    If there are results, it is their axis: along another one, every slice would look painted.
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
        f"paint along {chosen}, undo the results or create a new segmentation."
    )


def suddenly_painted(before: PaintedState, after: PaintedState) -> tuple[list[int], bool]:
    """Predicted slices that count as painted now, if they are more than a user paints at a time; else none.

    Also whether an edit caused it; the other cause is that a hidden segment was shown.
    """
    painted = [each.index for each in after.slices if each.segment_ids and each.index in before.predicted]
    if len(painted) <= max(_FEW, min(_MANY, len(before.predicted) // 3)):
        return [], False
    edited = [i for i in painted if marks_on(before.fingerprints, i) != marks_on(after.fingerprints, i)]
    return (edited, True) if 2 * len(edited) > len(painted) else (painted, False)


def _areas(segments: Iterable[SceneSegment], axis: int) -> dict[int, dict[str, int]]:
    """Maps slice index to the number of pixels of each segment there, by its id."""
    areas: dict[int, dict[str, int]] = {}
    for segment in segments:
        if not segment.labels.size:
            continue
        others = tuple(other for other in range(3) if other != axis)
        held = np.count_nonzero(segment.labels == segment.label_value, axis=others)
        for index in np.flatnonzero(held):
            areas.setdefault(int(index) + segment.offset[axis], {})[segment.id] = int(held[index])
    return dict(sorted(areas.items()))


def _filling(segments: Sequence[SceneSegment], most: int) -> int:
    """The number of voxels with a label, at most `most`; 0 if they leave much of the box around them free."""
    low, high = _box(segments)
    return int(np.count_nonzero(_occupied(segments))) if fills_volume(most, int(np.prod(high - low))) else 0


def _box(segments: Sequence[SceneSegment]) -> tuple[np.ndarray, np.ndarray]:
    """First index and end (k, j, i) of the box around all stored parts."""
    stored = [segment for segment in segments if segment.labels.size]
    if not stored:
        return np.zeros(3, int), np.zeros(3, int)
    high = np.max([np.add(segment.offset, segment.labels.shape) for segment in stored], axis=0)
    return np.min([segment.offset for segment in stored], axis=0), high


def _occupied(segments: Sequence[SceneSegment]) -> np.ndarray:
    """Where any segment has a label, (k, j, i) bool of the box around all stored parts."""
    low, high = _box(segments)
    occupied = np.zeros(tuple(high - low), bool)
    for segment in segments:
        if not segment.labels.size:
            continue
        place = tuple(
            slice(start, start + length)
            for start, length in zip(np.subtract(segment.offset, low), segment.labels.shape, strict=True)
        )
        occupied[place] |= segment.labels == segment.label_value
    return occupied


def ticked_slices(slices: Iterable[PaintedSlice]) -> tuple[list[int], list[int]]:
    """The slices to learn from: painted ones and empty ones."""
    ticked = [each for each in slices if each.ticked]
    return [each.index for each in ticked if each.segment_ids], [each.index for each in ticked if each.empty]


def not_painted_on(slices: Sequence[PaintedSlice], index: int) -> dict[str, bool]:
    """The ids of segments painted somewhere, but not on this slice, and whether it was declared to be without them;
    none if the slice is empty, or if there is only one segment."""
    row = next((each for each in slices if each.index == index), PaintedSlice(index, ()))
    somewhere = {one for each in slices for one in each.segment_ids}
    if row.empty or len(somewhere) < 2:
        return {}
    return {one: one in row.absent_ids for one in somewhere.difference(row.segment_ids)}


def painted_by_segment(slices: Iterable[PaintedSlice]) -> Mapping[str, int]:
    """Maps segment id to the number of ticked slices on which it is painted."""
    return Counter(one for each in slices if each.ticked for one in each.segment_ids)
