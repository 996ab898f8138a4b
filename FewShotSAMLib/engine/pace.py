"""Remembers how long runs took on this computer, so that the next estimate is based on measurements."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.pace import Work, segment_factor
from FewShotSAMLib.methods.interface import Method
from FewShotSAMLib.sam.registry import Architecture

FILE_NAME = "pace.json"
FEWEST_SLICES = 3
MEASURED = ("learning", "continuing", "encoding", "predicting")
_LONGEST_S = 1e9
_ONCE = ("read", "load", "write")


def pace_of(report: Mapping[str, Any], work: Work, method: Method, architecture: Architecture) -> dict[str, Any]:
    """What a finished propagation tells about the next: the times of `core.pace.Pace` that it measured, in seconds;
    after a run from scratch, also the expected time of a run that continues from its model."""
    encoder, seconds = report["encoder"], report["seconds"]
    own = method.for_encoder(architecture)
    spent = {stage: seconds.get(stage, 0.0) for stage in ("encode", "predict", "fine-tune", "learn", "augment")}
    besides = spent["encode"] + spent["predict"] + sum(seconds.get(stage, 0.0) for stage in _ONCE)
    learning = max(0.0, seconds["total"] - besides) / segment_factor(work.segments, own.learning_share)
    pace: dict[str, Any] = {"continuing": learning} if work.continues else {"learning": learning}
    if not work.continues:  # fewer steps, and no augmented copies
        less = (1 - warm_share_of(method, architecture)) * (spent["fine-tune"] + spent["learn"]) + spent["augment"]
        pace["continuing"] = max(0.0, learning - less / segment_factor(work.segments, own.learning_share))
    if work.encoded >= FEWEST_SLICES:
        pace["encoding"] = spent["encode"] / work.encoded
    if len(work.asked) >= FEWEST_SLICES:
        pace["predicting"] = spent["predict"] / sum(segment_factor(count, own.segment_share) for count in work.asked)
    key = {"method": method.name, "encoder": encoder["name"], "device": encoder["device"]}
    return key | {name: round(value, 4) for name, value in pace.items()}


def warm_share_of(method: Method, architecture: Architecture) -> float:
    """Training steps after a warm start, as a share of those from scratch."""
    own = method.for_encoder(architecture)
    cold, warm = (own.plan(architecture, faithful=False, warm=warm, steps=None).steps for warm in (False, True))
    return warm / cold if cold else 1.0


def remember(pace: Mapping[str, Any], folder: Path) -> None:
    """Save a pace; it replaces the times measured by earlier runs with the same method, encoder and device. Errors,
    such as a full disk, are ignored."""
    known = remembered(folder)
    earlier = next((each for each in known if _key(each) == _key(pace)), {})
    kept = [each for each in known if _key(each) != _key(pace)]
    with contextlib.suppress(OSError, BadInputError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / FILE_NAME) as path:
            path.write_text(json.dumps([*kept, {**earlier, **pace}], indent=1), encoding="utf-8")


def remembered(folder: Path) -> list[dict[str, Any]]:
    """All saved paces; none if the file is missing or damaged."""
    try:
        entries = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return [each for each in entries if measured(each) and _are_times(measured(each).values())]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return []


def _are_times(values: Iterable[float]) -> bool:
    return all(isinstance(value, int | float) and 0 <= value < _LONGEST_S for value in values)


def measured(pace: Mapping[str, Any]) -> dict[str, float]:
    """The measured seconds of a pace, by their names in `core.pace.Pace`."""
    return {name: pace[name] for name in MEASURED if name in pace}


def _key(pace: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(pace.get(name) for name in ("method", "encoder", "device"))
