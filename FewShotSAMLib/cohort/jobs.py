"""A row in progress: its job in a background process, and how that ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from FewShotSAMLib.cohort.plan import Row
from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.worker.client import WorkerClient, WorkerDiedError, error_of, follow
from FewShotSAMLib.worker.protocol import Event, error_event

Listen = Callable[["RowTask", Event], None]
"""Called with the events of rows in progress, in the thread that runs them."""
Interrupts = Callable[[], int]
"""Returns how often the user has asked to stop."""


@dataclass(frozen=True)
class RowTask:
    """A row and its job's parameters. number: the row's position in the plan."""

    row: Row
    parameters: Mapping[str, Any]
    number: int = 0


@dataclass(frozen=True)
class RowOutcome:
    """How a row ended: its report or an error, and how long it took."""

    task: RowTask
    event: Event = field(repr=False)
    seconds: float = 0.0

    @property
    def report(self) -> dict[str, Any] | None:
        """The job's report; None if it failed."""
        return dict(self.event["report"]) if self.event["type"] == "result" else None

    @property
    def error(self) -> FewShotSAMError | None:
        """The error with which it failed; None if it did not."""
        return error_of(self.event) if self.event["type"] == "error" else None


class Backend(Protocol):
    """Where rows are computed."""

    def run(
        self, tasks: Iterator[RowTask], listen: Listen, interrupts: Interrupts, alone: bool = False
    ) -> Iterator[RowOutcome]:
        """Yield the rows in the order in which they end; with `alone` they run one at a time. Takes a task when there
        is room for it, and none after an interrupt; rows that run then end as cancelled or are not yielded at all."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


def compute(
    client: WorkerClient, command: str, parameters: Mapping[str, Any], listen: Callable[[Event], None], stop: Interrupts
) -> tuple[Event, float]:
    """Run a job in this background process, starting it if necessary; return the job's last event and its seconds."""
    begun = time.monotonic()
    try:
        client.start()
        event = follow(client, client.request(command, parameters), listen, stop)
    except WorkerDiedError as error:
        event = error_event(None, error.kind, error.message, error.hint, error.log)
    return event, round(time.monotonic() - begun, 3)


def check_model(client: WorkerClient, model: Path) -> None:
    """Raise the BadInputError with which every volume would fail if the model is damaged."""
    event, _ = compute(client, "describe", {"path": str(model)}, lambda event: None, lambda: 0)
    if event["type"] == "error" and event["kind"] == BadInputError.kind:
        raise error_of(event)
