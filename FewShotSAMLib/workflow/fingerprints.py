"""Numbers that change with what is drawn on a slice, one for each segment, so that a slice can be recognised."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import numpy as np

from FewShotSAMLib.workflow.scene import SceneSegment

Fingerprints = Mapping[str, Mapping[int, int]]
"""Maps segment id to slice index to mark; slices without a label of the segment are left out."""

Marks = Mapping[str, int]
"""Maps segment id to mark for one slice; a segment without a label there is left out."""


def fingerprints(segments: Iterable[SceneSegment], axis: int) -> Fingerprints:
    """The marks of each segment on each slice along `axis`; independent of how the segments are stored."""
    return {segment.id: _marks_of(segment, axis) for segment in segments}


def marks_on(prints: Fingerprints, index: int) -> dict[str, int]:
    """The marks of a slice."""
    return {each: marks[index] for each, marks in prints.items() if index in marks}


def _marks_of(segment: SceneSegment, axis: int) -> dict[int, int]:
    name, found = segment.id.encode(), dict[int, int]()
    for index, rows, columns, mask in _labelled(segment, axis):
        place = f"{rows} {columns} {mask.shape}".encode()
        found[index] = zlib.crc32(np.packbits(mask).tobytes(), zlib.crc32(place, zlib.crc32(name)))
    return found


def _labelled(segment: SceneSegment, axis: int) -> Iterable[tuple[int, int, int, np.ndarray]]:
    """For each slice with a label: its index, the first row and column of the labels, and their cropped mask."""
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
