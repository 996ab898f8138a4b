"""Finds by itself which slices of a segmentation are painted, before and after results were applied to it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.painted_axis import check_one_axis, find_painted_axis
from FewShotSAMLib.workflow.scene import SceneSegment

Fingerprints = dict[int, int]
"""Slice index to a number that changes with what the segments hold there; slices without a label are left out."""

_VERSION = 1


@dataclass(frozen=True)
class PaintedSlice:
    """A slice that the user worked on.

    ticked: whether it is complete and to be learned from. empty: it was declared to hold none of the segments.
    """

    index: int
    segment_ids: tuple[str, ...]
    ticked: bool = True
    empty: bool = False


@dataclass
class Notes:
    """What labels alone do not tell; it is stored with the segmentation.

    axis: the one the user chose, None to find it. applied: for each slice that results were written to, its
    fingerprints before and after. painted: slices that were exemplars then.
    """

    axis: int | None = None
    unticked: set[int] = field(default_factory=set)
    empty: set[int] = field(default_factory=set)
    painted: set[int] = field(default_factory=set)
    applied: dict[int, tuple[int, int]] = field(default_factory=dict)
    applied_axis: int | None = None

    def to_text(self) -> str:
        """One line of JSON."""
        applied = {str(index): list(marks) for index, marks in sorted(self.applied.items())}
        sets = {name: sorted(getattr(self, name)) for name in ("unticked", "empty", "painted")}
        content = {"version": _VERSION, "axis": self.axis, "applied_axis": self.applied_axis, "applied": applied}
        return json.dumps({**content, **sets})

    @classmethod
    def from_text(cls, text: str) -> Notes:
        """What `to_text` gave; empty notes for any other text, such as a later version's."""
        try:
            content: dict[str, Any] = json.loads(text)
            if content["version"] != _VERSION:
                return cls()
            sets = {name: {int(index) for index in content[name]} for name in ("unticked", "empty", "painted")}
            applied = {int(index): (int(old), int(new)) for index, (old, new) in content["applied"].items()}
            return cls(axis=content["axis"], applied=applied, applied_axis=content["applied_axis"], **sets)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Found:
    """What a look at the segments showed. axis is None while nothing is painted; problem: "" or what is wrong."""

    axis: int | None
    slices: tuple[PaintedSlice, ...]
    fingerprints: Fingerprints = field(default_factory=dict)
    problem: str = ""
    warnings: tuple[str, ...] = ()


def find_painted_slices(
    segments: Sequence[SceneSegment], spacing_kji: tuple[float, float, float], notes: Notes
) -> Found:
    """The painted slices of the visible segments, and those declared empty.

    A slice with a label is painted, unless the label is what FewShotSAM wrote there itself. Nothing is changed and
    nothing but arrays is touched, so that it can run in another thread.
    """
    segments = [segment for segment in segments if segment.visible]
    axis, warnings = notes.axis, list[str]()
    occupied = _occupied(segments)
    if notes.applied and notes.applied_axis is not None:
        axis = notes.applied_axis
    elif axis is None and occupied.any():
        try:
            check_one_axis(occupied)
        except BadInputError as error:
            return Found(None, (), problem=str(error))
        axis, warnings = find_painted_axis(occupied, spacing_kji)
    if axis is None:
        return Found(None, ())
    holders = _holders(segments, axis)
    prints = fingerprints(segments, axis) if notes.applied else {}
    own = {index for index in notes.applied if _is_ours(index, prints, notes)}
    painted = [index for index in holders if index not in own]
    slices = [PaintedSlice(index, holders[index], index not in notes.unticked) for index in painted]
    slices += [PaintedSlice(index, (), True, True) for index in notes.empty if index not in set(painted)]
    return Found(axis, tuple(sorted(slices, key=lambda each: each.index)), prints, "", tuple(warnings))


def _is_ours(index: int, prints: Fingerprints, notes: Notes) -> bool:
    """Whether a slice holds what was written there, or after Undo what was there before: nobody painted on it since."""
    return index not in notes.painted and prints.get(index, 0) in notes.applied[index]


def fingerprints(segments: Iterable[SceneSegment], axis: int) -> Fingerprints:
    """For each slice along `axis` a number for what the segments hold there; the same however they are stored."""
    marks: Fingerprints = {}
    for segment in segments:
        name = segment.id.encode()
        for index, rows, columns, mask in _labelled(segment, axis):
            place = f"{rows} {columns} {mask.shape}".encode()
            digest = zlib.crc32(np.packbits(mask).tobytes(), zlib.crc32(place, zlib.crc32(name)))
            marks[index] = zlib.crc32(digest.to_bytes(4, "little"), marks.get(index, 0)) or 1
    return marks


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


def _labelled(segment: SceneSegment, axis: int) -> Iterable[tuple[int, int, int, np.ndarray]]:
    """For each slice with a label its index, the first row and column of the labels, and their mask, cropped."""
    along = np.moveaxis(segment.labels, axis, 0)
    row_offset, column_offset = (place for other, place in enumerate(segment.offset) if other != axis)
    for index, plane in enumerate(along):
        mask = plane == segment.label_value
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            continue
        columns = np.flatnonzero(mask.any(axis=0))
        cropped = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        yield index + segment.offset[axis], int(rows[0]) + row_offset, int(columns[0]) + column_offset, cropped


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


def note_applied(notes: Notes, axis: int, before: Fingerprints, after: Fingerprints, written: Iterable[int]) -> None:
    """Remember that results were written to these slices along `axis`, so that they do not count as painted."""
    if notes.applied_axis != axis:
        notes.applied = {}
    notes.applied_axis = axis
    for index in written:
        notes.applied[index] = (before.get(index, 0), after.get(index, 0))


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
