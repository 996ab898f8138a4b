"""One request to the background process, and its progress as shown to the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from FewShotSAMLib.options import STAGES
from FewShotSAMLib.worker.protocol import Event

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Progress:
    """text: ready to show. fraction: 0 to 1 of the stage, None if unknown; remaining_s: seconds left in it."""

    stage: str
    text: str
    fraction: float | None = None
    remaining_s: float | None = None

    @property
    def can_finish(self) -> bool:
        """Whether there is a first answer already, which the user may accept as it is."""
        return self.stage == "learn"


PREPARING = Progress("prepare", STAGES["prepare"])


def progress_of(event: Mapping[str, Any]) -> Progress:
    """A progress event as shown to the user."""
    stage, done, total = str(event["stage"]), int(event["done"]), int(event["total"])
    text = STAGES.get(stage, stage.capitalize())
    if stage == "download":
        text = f"{text}, {done / _MEGABYTE:.0f} of {total / _MEGABYTE:.0f} MB"
    elif total > 1:
        text = f"{text}, {done} of {total}"
    left = event.get("eta_s")
    return Progress(stage, text, done / total if total > 0 else None, None if left is None else float(left))


@dataclass(frozen=True)
class Job:
    """A request under way, with the receivers of its report and previews. is_run: Cancel stops it. on_drop: called when
    the request is dropped because a run, which has priority, begins; None if it is not dropped then."""

    request_id: str
    command: str
    on_result: Callable[[dict[str, Any]], None]
    on_preview: Callable[[Event], None] | None = None
    is_run: bool = False
    on_drop: Callable[[], None] | None = None
