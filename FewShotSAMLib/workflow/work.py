"""What a run would have to do, given the painted slices and the previous run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.workflow.painted_slices import PaintedSlice, painted_by_segment
from FewShotSAMLib.workflow.scene import Target
from FewShotSAMLib.workflow.settings import Settings


def learns_like(
    target: Target | None, axis: int | None, settings: Settings, models: tuple[Path, ...] = ()
) -> tuple[Any, ...]:
    """What must be equal, besides the segments, for a run to continue from the few-shot model of the previous run.
    models: of earlier patients, used in addition to the painted slices."""
    return (target, axis, settings.method, settings.encoder, settings.checkpoint, models)


@dataclass(frozen=True)
class LastModel:
    """What the last few-shot model was learned from. like: as `learns_like`; slices: those encoded by now. painted: the
    slices of the last run, if the next one can be a correction of it."""

    like: tuple[Any, ...]
    segment_ids: tuple[str, ...]
    slices: frozenset[int]
    painted: tuple[PaintedSlice, ...] = ()


def work_of(
    slices: Sequence[PaintedSlice],
    limits: tuple[int, int] | None,
    count: int,
    like: tuple[Any, ...] = (),
    learned: LastModel | None = None,
    starts: bool = False,
) -> Work:
    """What a run on these slices would do. count: slices along the axis; limits: `Session.range`.

    like: of this run; learned: by the last one; starts: whether the process must still be started.
    """
    worked_on = [each for each in slices if each.ticked]
    asked = dict(_asked(worked_on, limits or (0, count - 1)))
    segments = set(painted_by_segment(slices))
    before = learned if learned is not None and learned.like == like else None
    encoded = {*asked, *(each.index for each in worked_on)}.difference(before.slices if before else ())
    continues = before is not None and segments == set(before.segment_ids)
    corrected = before.painted if before is not None and continues else ()
    if corrected:
        changed = {each.index for each in {*slices} ^ {*corrected}}
        asked = dict(_asked(worked_on, limits or (0, count - 1), changed))
    return Work(tuple(asked.values()), len(encoded), len(segments), continues, starts, bool(corrected))


def _asked(
    slices: Sequence[PaintedSlice], limits: tuple[int, int], changed: Collection[int] | None = None
) -> Iterator[tuple[int, int]]:
    """The slices to predict, and how many segments are sought on each (`Annotation.sought`).

    A segment is not sought on a slice if neither of the nearest known slices contains it. While nothing is painted yet,
    one segment can be anywhere. changed: slices painted differently than in the run that is corrected; around these,
    each segment is predicted again up to the next unchanged slices on which it is known.
    """
    known = [dict(_known(slices, segment)) for segment in painted_by_segment(slices)]
    for index in range(limits[0], limits[1] + 1):
        if not slices:
            yield index, 1
        elif found := sum(_is_sought(index, each) and _is_affected(index, each, changed) for each in known):
            yield index, found


def _is_affected(index: int, known: Mapping[int, bool], changed: Collection[int] | None) -> bool:
    """Whether no unchanged slice on which a segment is known lies between a slice and a changed one."""
    if changed is None:
        return True
    fixed = [one for one in known if one not in changed]
    return any(not any(min(index, one) < each < max(index, one) for each in fixed) for one in changed)


def _known(slices: Sequence[PaintedSlice], segment: str) -> Iterator[tuple[int, bool]]:
    """The slices on which it is known whether a segment is there, and whether it is."""
    for each in slices:
        if each.empty or segment in each.absent_ids or (each.segment_ids and segment not in each.unknown_ids):
            yield each.index, segment in each.segment_ids


def _is_sought(index: int, known: Mapping[int, bool]) -> bool:
    below = max((one for one in known if one < index), default=None)
    above = min((one for one in known if one > index), default=None)
    return index not in known and any(known[one] for one in (below, above) if one is not None)
