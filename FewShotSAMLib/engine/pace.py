"""Remembers how long runs took on this computer: the next estimate is then a measured one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path

FILE_NAME = "pace.json"
FEWEST_SLICES = 3
_EACH = ("encode", "predict")
_ONCE = ("read", "load", "write")


def pace_of(report: Mapping[str, Any], asked: int) -> dict[str, Any] | None:
    """What a finished propagation says of the next: seconds of learning, and of each slice besides.

    asked: the slices that were predicted. None where it says nothing: after a warm start, with embeddings from the
    cache, or on a few slices.
    """
    training, encoder, seconds = report["training"], report["encoder"], report["seconds"]
    if training["warm"] or asked < FEWEST_SLICES or encoder["slices_encoded"] < asked:
        return None
    each = sum(seconds.get(stage, 0.0) for stage in _EACH)
    once = sum(seconds.get(stage, 0.0) for stage in _ONCE)
    return {
        "method": training["method"],
        "encoder": encoder["name"],
        "device": encoder["device"],
        "training_seconds": round(max(0.0, seconds["total"] - each - once), 2),
        "slice_seconds": round(each / asked, 4),
    }


def remember(pace: Mapping[str, Any], folder: Path) -> None:
    """Keep it in place of the last run's with the same method, encoder and device; a full disk is no reason to fail."""
    kept = [known for known in remembered(folder) if _key(known) != _key(pace)]
    with contextlib.suppress(OSError, BadInputError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / FILE_NAME) as path:
            path.write_text(json.dumps([*kept, dict(pace)], indent=1), encoding="utf-8")


def remembered(folder: Path) -> list[dict[str, Any]]:
    """All that is known; nothing where the file is absent or damaged."""
    try:
        entries = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return [entry for entry in entries if all(entry[name] >= 0 for name in ("training_seconds", "slice_seconds"))]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _key(pace: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(pace.get(name) for name in ("method", "encoder", "device"))
