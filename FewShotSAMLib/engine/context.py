"""What a job sees of the background process: progress, warnings, cancellation, its time, and what stays warm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import CancelledError

Send = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's type and its fields; whoever made the context adds the request's id and carries it away."""

PROGRESS_INTERVAL_S = 0.1


class JobContext:
    """A job's only way to the outside. `JobContext()` alone is a silent one, good for tests and for use as a library.

    `state` lives as long as the process: a warm encoder or embeddings are kept there from one job to the next.
    `job_folder` is where bulk data for the parent goes, None where the parent gave none.
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
        """Raise CancelledError when the user asked to stop. Long loops call it at least twice a second."""
        if self._cancelled.is_set():
            kept = "Embeddings already made are kept."
            hint = kept if self.written else f"Nothing was written; {kept.lower()}"
            raise CancelledError("The run was cancelled.", hint)

    def wrote(self, path: Path) -> None:
        """Note an output that is meant to be there before the others are, so that every error says that it was
        written."""
        self.written.append(path)

    def is_enough(self) -> bool:
        """Whether the user takes the first answer as it is, so that nothing more need be learned."""
        return self._enough.is_set()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` steps of a stage. Call it as often as you like.

        The first and the last report of a stage are always sent, those between at most ten times a second. Unless the
        stage is done, this is a `check()` too: the last report of writing must not turn a written file into an error.
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
        """Say which file is read now, None for none: should the process crash, the parent names it."""
        self.file = path
        self._send("progress", {"stage": "read", "done": 0, "total": 1, "eta_s": None, "file": str(path or "")})

    def _eta(self, now: float, done: int, total: int) -> float | None:
        """Seconds left at the stage's pace so far; None while there is no pace yet."""
        started_at, done_at_start = self._started
        if done >= total:
            return 0.0
        if done <= done_at_start:
            return None
        return round((now - started_at) * (total - done) / (done - done_at_start), 1)

    def warning(self, text: str) -> None:
        """Tell the user something that does not stop the run. The same text is sent once only."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._send("warning", {"message": text})

    def metric(self, name: str, value: float) -> None:
        """Report one number, such as the loss of a training step."""
        self._send("metric", {"name": name, "value": value})

    def preview(self, **fields: Any) -> None:
        """Report that something can be shown already; bulk data lies in files, `fields` name them."""
        self._send("preview", fields)


class StageTimer:
    """Seconds spent in each stage of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for the stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - start, 3)

    def total(self) -> float:
        """Seconds since the job began."""
        return round(time.monotonic() - self._start, 3)
