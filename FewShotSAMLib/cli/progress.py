"""Shows a job's events on stderr: bars on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.options import STAGES
from FewShotSAMLib.worker.protocol import Event

PLAIN_STEP_PERCENT = 25


class _Bars:
    """A context manager that shows bars on a terminal, unless `quiet`."""

    def __init__(self, quiet: bool, first: TextColumn, last: ProgressColumn, **more: Any) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bars = self._console.is_terminal and not quiet
        columns = (first, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), last)
        self._progress = Progress(*columns, console=self._console, **more)

    def __enter__(self) -> Self:
        if self._bars:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars, as plain text: brackets in a file name are not markup."""
        self._console.print(Text(line))


class ProgressDisplay(_Bars):
    """`show` takes every event; `warnings` are those that were printed."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet, TextColumn("{task.description}"), TextColumn("{task.fields[left]}"))
        self.warnings: list[str] = []
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, int] = {}

    def show(self, event: Event) -> None:
        """Show one event; those that do not concern a person are ignored."""
        if event["type"] == "warning":
            self.warnings.append(event["message"])
            self.say(f"warning: {event['message']}")
        elif event["type"] == "progress" and not self._quiet:
            stage, done, total = event["stage"], event["done"], event["total"]
            words = STAGES.get(stage, stage.capitalize())
            if self._bars:
                self._show_bar(words, done, total, _time_left(event.get("eta_s")))
            else:
                self._show_line(words, done, total)

    def _show_bar(self, words: str, done: int, total: int, left: str) -> None:
        if words not in self._tasks:
            self._tasks[words] = self._progress.add_task(words, total=total, left=left)
        self._progress.update(self._tasks[words], completed=done, total=total, left=left)

    def _show_line(self, words: str, done: int, total: int) -> None:
        """A line at the start of a stage, at each quarter and at its end."""
        percent = 100 * done // total if total else 100
        last = self._printed.get(words)
        if last is None or percent >= last + PLAIN_STEP_PERCENT or (percent == 100 and last < 100):
            self._printed[words] = percent
            self.say(f"{words}: {done} of {total}")


def _time_left(seconds: float | None) -> str:
    if not seconds:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s left" if minutes else f"{rest} s left"


class RowsDisplay(_Bars):
    """Shows how many rows are done and the time left at the pace of this call; a failed row gets its own line."""

    def __init__(self, total: int, there: int, quiet: bool = False) -> None:
        # The pace is that of the last half hour or 1000 rows: rows differ, and a cluster grows.
        super().__init__(quiet, TextColumn("Volumes"), TimeRemainingColumn(), speed_estimate_period=1800)
        self._total, self._done = total, there
        self._task = self._progress.add_task("", total=total, completed=there)
        self._begun = time.monotonic()
        self._now = 0

    def row_done(self, name: str, error: FewShotSAMError | None) -> None:
        """Count a row that has ended, with or without an error."""
        self._done, self._now = self._done + 1, self._now + 1
        if error is not None:
            self.say(" ".join(f"error: {name}: {error}".split()))
        if self._bars:
            self._progress.advance(self._task)
        elif not self._quiet and (self._now == 1 or self._done % max(1, self._total // 20) == 0):
            left = _time_left((time.monotonic() - self._begun) / self._now * (self._total - self._done))
            self.say(f"Volumes: {self._done} of {self._total}{f', {left}' if left else ''}")
