"""Finds the part of the slices around what is painted, for encoders that look closely at a region."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.plane import SlicePlane

Box = tuple[int, int, int, int]
"""First row, end row, first column, end column, in display orientation."""

MARGIN = 0.3
"""Added on every side, as a share of the painted extent's longer side: structures grow between painted slices."""
LEAST_MARGIN = 0.1
"""An earlier region is kept as long as it leaves this margin."""
LEAST_SIDE = 20
"""Minimum side of the region in pixels of the slice, if the slice has as many."""
FINER = 1.3
"""How many times smaller a segment's pixels must become for it to get a region of its own."""


@dataclass(frozen=True)
class Region:
    """A part of the slices, and the segments 1 to C that are looked for in it."""

    labels: tuple[int, ...]
    crop: Box


def regions(annotation: Annotation, plane: SlicePlane, size: int, earlier: Sequence[Region] = ()) -> tuple[Region, ...]:
    """Regions of `size` pixels a side for segments that a common one would show too coarsely; none if it does not.

    earlier: those of the previous run, which are kept unchanged if they still fit.
    """
    if earlier:
        return tuple(replace(each, crop=region_box(annotation.of(each.labels), plane, each.crop)) for each in earlier)
    shown = [
        label
        for label in range(1, len(annotation.segmentation.segments) + 1)
        if any(annotation.shows(label, index) for index in annotation.painted)
    ]
    alone = {label: region_box(annotation.of([label]), plane) for label in shown}
    groups: list[Region] = []
    for label in sorted(shown, key=lambda each: -_pixel(alone[each], plane, size)):
        for number, group in enumerate(groups):
            together = tuple(sorted((*group.labels, label)))
            crop = region_box(annotation.of(together), plane)
            if _pixel(crop, plane, size) <= FINER * min(_pixel(alone[each], plane, size) for each in together):
                groups[number] = Region(together, crop)
                break
        else:
            groups.append(Region((label,), alone[label]))
    return tuple(groups) if len(groups) > 1 else ()


def _pixel(box: Box, plane: SlicePlane, size: int) -> float:
    """Side in mm of the smallest visible detail in a region: its own pixels, but never less than the slice's."""
    down, across = plane.spacing
    return max((box[1] - box[0]) * down / size, (box[3] - box[2]) * across / size, min(down, across))


def region_box(annotation: Annotation, plane: SlicePlane, earlier: Box | None = None) -> Box:
    """A box, square in mm as far as the slice reaches, around everything painted on any slice.

    `earlier` is returned unchanged if it still fits, so that embeddings stay valid when a slice is added.
    """
    painted = _extent(plane.orient(annotation.classes(index)) for index in annotation.painted)
    rows, columns = painted[1] - painted[0], painted[3] - painted[2]
    down, across = plane.spacing
    longer = max(rows * down, columns * across)
    if earlier is not None and _holds(earlier, painted, LEAST_MARGIN * longer, plane):
        return earlier
    side = max(longer * (1 + 2 * MARGIN), LEAST_SIDE * min(down, across))
    rows_around = _span(painted[0], painted[1], side / down, plane.shape[0])
    return (*rows_around, *_span(painted[2], painted[3], side / across, plane.shape[1]))


def _extent(maps: Iterable[np.ndarray]) -> Box:
    shown = np.logical_or.reduce([classes > 0 for classes in maps])
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _span(first: int, end: int, wanted: float, count: int) -> tuple[int, int]:
    """`wanted` pixels around first..end, moved back into 0..count if they would leave it."""
    length = min(count, max(end - first, round(wanted)))
    start = min(max(0, round((first + end - length) / 2)), count - length)
    return start, start + length


def _holds(box: Box, painted: Box, margin: float, plane: SlicePlane) -> bool:
    """Whether the box leaves `margin` mm around what is painted, or reaches the slice's border there."""
    rows, columns = margin / plane.spacing[0], margin / plane.spacing[1]
    return (
        (box[0] == 0 or box[0] <= painted[0] - rows)
        and (box[1] == plane.shape[0] or box[1] >= painted[1] + rows)
        and (box[2] == 0 or box[2] <= painted[2] - columns)
        and (box[3] == plane.shape[1] or box[3] >= painted[3] + columns)
    )
