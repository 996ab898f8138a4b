"""A job's view of the background process: progress, warnings, cancellation, timing, and state shared between jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import CancelledError

Send = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's type and fields; the context's creator adds the request's id and delivers the event."""

PROGRESS_INTERVAL_S = 0.1


class JobContext:
    """A job's only channel to the outside. `JobContext()` without arguments is silent, for tests and use as a library.

    `state` lives as long as the process: it carries a loaded encoder or embeddings from one job to the next.
    `job_folder` receives bulk data for the parent process; None if the parent named no folder.
    """

    def __init__(
        self,
        send: Send = lambda kind, fields: None,
        cancelled: threading.Event | None = None,
        job_folder: Path | None = None,
        state: dict[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        enough: threading.Event | None = None,
    ) -> None:
        self.job_folder = job_folder
        self.state: dict[str, Any] = {} if state is None else state
        self.warnings: list[str] = []
        self.written: list[Path] = []
        self.file: Path | None = None
        self._send = send
        self._cancelled = cancelled or threading.Event()
        self._enough = enough or threading.Event()
        self._clock = clock
        self._stage = ""
        self._started = (0.0, 0)
        self._last_sent = 0.0

    def check(self) -> None:
        """Raise CancelledError if the user asked to stop. Long loops call this at least twice a second."""
        if self._cancelled.is_set():
            kept = "Embeddings already made are kept."
            hint = kept if self.written else f"Nothing was written; {kept.lower()}"
            raise CancelledError("The run was cancelled.", hint)

    def wrote(self, path: Path) -> None:
        """Record an output that is deliberately written before the others, so that every later error mentions it."""
        self.written.append(path)

    def is_enough(self) -> bool:
        """Whether the user accepts the first result, so that no further learning is needed."""
        return self._enough.is_set()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` steps of a stage. May be called as often as convenient.

        The first and the last report of a stage are always sent, those in between at most ten times a second. Unless
        the stage is done, this calls `check()` too; the last report does not, as a cancellation must not turn a file
        that is already written into an error.
        """
        if done < total:
            self.check()
        now = self._clock()
        first = stage != self._stage
        if first:
            self._stage, self._started = stage, (now, done)
        if not first and done < total and now - self._last_sent < PROGRESS_INTERVAL_S:
            return
        self._last_sent = now
        self._send("progress", {"stage": stage, "done": done, "total": total, "eta_s": self._eta(now, done, total)})

    def reading(self, path: Path | None) -> None:
        """Report which file is being read, None for none: if the process crashes, the parent can name the file."""
        self.file = path
        self._send("progress", {"stage": "read", "done": 0, "total": 1, "eta_s": None, "file": str(path or "")})

    def _eta(self, now: float, done: int, total: int) -> float | None:
        """Seconds left at the stage's pace so far; None as long as the pace is unknown."""
        started_at, done_at_start = self._started
        if done >= total:
            return 0.0
        if done <= done_at_start:
            return None
        return round((now - started_at) * (total - done) / (done - done_at_start), 1)

    def warning(self, text: str) -> None:
        """Warn the user without stopping the run. The same text is sent only once."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._send("warning", {"message": text})

    def metric(self, name: str, value: float) -> None:
        """Report one number, such as the loss of a training step."""
        self._send("metric", {"name": name, "value": value})

    def preview(self, **fields: Any) -> None:
        """Report that a preview can be shown; its bulk data is in files that `fields` name."""
        self._send("preview", fields)


class StageTimer:
    """Seconds spent in each stage of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - start, 3)

    def total(self) -> float:
        """Seconds since the job began."""
        return round(time.monotonic() - self._start, 3)
