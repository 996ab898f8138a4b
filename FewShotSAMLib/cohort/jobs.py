"""A row on its way: its job in a background process, and how that ended."""

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
"""Hears the events of rows under way, in the thread of whoever runs them."""
Interrupts = Callable[[], int]
"""How often the user has asked to stop."""


@dataclass(frozen=True)
class RowTask:
    """A row and the parameters of its job. number: the row's place in the plan."""

    row: Row
    parameters: Mapping[str, Any]
    number: int = 0


@dataclass(frozen=True)
class Done:
    """How a row ended: its report, or an error; and how long it took."""

    task: RowTask
    event: Event = field(repr=False)
    seconds: float = 0.0

    @property
    def report(self) -> dict[str, Any] | None:
        """The job's report; None where it failed."""
        return dict(self.event["report"]) if self.event["type"] == "result" else None

    @property
    def error(self) -> FewShotSAMError | None:
        """What it failed with; None where it did not."""
        return error_of(self.event) if self.event["type"] == "error" else None


class Backend(Protocol):
    """Where rows are computed."""

    def run(
        self, tasks: Iterator[RowTask], listen: Listen, interrupts: Interrupts, alone: bool = False
    ) -> Iterator[Done]:
        """The rows in the order in which they end; with `alone` one at a time. A task is taken when there is room for
        it, and none after an interrupt; what runs then is ended, as cancelled or without a word."""
        ...

    def close(self) -> None:
        """Give back what was taken."""
        ...


def compute(
    client: WorkerClient, command: str, parameters: Mapping[str, Any], listen: Callable[[Event], None], stop: Interrupts
) -> tuple[Event, float]:
    """The last event of a job in this background process, which is started where it is not there, and its seconds."""
    begun = time.monotonic()
    try:
        client.start()
        event = follow(client, client.request(command, parameters), listen, stop)
    except WorkerDiedError as error:
        event = error_event(None, error.kind, error.message, error.hint, error.log)
    return event, round(time.monotonic() - begun, 3)


def check_model(client: WorkerClient, model: Path) -> None:
    """Raise the BadInputError that a damaged model means for every volume."""
    event, _ = compute(client, "describe", {"path": str(model)}, lambda event: None, lambda: 0)
    if event["type"] == "error" and event["kind"] == BadInputError.kind:
        raise error_of(event)
