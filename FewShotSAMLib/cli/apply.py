"""`apply`: a few-shot model on one volume, or on several in one process, where model and encoder stay warm."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from FewShotSAMLib.cli.progress import ProgressDisplay
from FewShotSAMLib.cli.propagate import (
    check_report,
    event_listener,
    interrupts,
    job_parameters,
    run_and_tell,
    say,
    write_report,
)
from FewShotSAMLib.cli.summary import summary_lines
from FewShotSAMLib.cohort.jobs import RowOutcome, RowTask, check_model
from FewShotSAMLib.cohort.plan import Row, check_rows
from FewShotSAMLib.cohort.pool import Pool, Resources
from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.core.files import check_writable
from FewShotSAMLib.core.volume import volume_name
from FewShotSAMLib.options import APPLY
from FewShotSAMLib.worker.protocol import Event


def apply(options: argparse.Namespace) -> int:
    """`fewshotsam apply`. The exit code after several volumes is 0, or that of the first one that failed."""
    volumes = [Path(os.path.abspath(each)) for each in options.volume]  # noqa: PTH100 - a link keeps its own name
    if len(volumes) == 1:
        return run_and_tell(APPLY, options)
    model = Path(options.model).absolute()
    rows = [Row(volume_name(volume), volume, model=model) for volume in volumes]
    folder = Path(options.output).absolute()
    _check(rows, folder, options)
    with _Display(rows, options) as display:
        _run(rows, folder, options, display)
    write_report(display.reports, options)
    say(f"{len(volumes) - len(display.exit_codes)} of {len(volumes)} volumes were segmented.", options)
    return display.exit_codes[0] if display.exit_codes else 0


def _run(rows: Sequence[Row], folder: Path, options: argparse.Namespace, display: _Display) -> None:
    """Segment the volumes one after the other; a failure is reported and does not stop the others."""
    common = job_parameters(argparse.Namespace(**{**vars(options), "volume": None, "output": None}))
    tasks = [
        RowTask(row, {**row.parameters(common), "output": str(row.output(folder))}, number)
        for number, row in enumerate(rows)
    ]
    pool = Pool([Resources(threads=0)])
    try:
        if Path(options.model).suffix.lower() == ".fewshot":  # a damaged one is reported once, before any work
            check_model(pool.clients[0], Path(common["model"]))
        with interrupts() as received:
            for done in pool.run(iter(tasks), display.show, lambda: len(received)):
                display.end(done)
            if received:
                raise CancelledError("Cancelled.", "Complete results were kept.")
    finally:
        pool.close()


class _Display:
    """Shows one volume after the other; collects the `reports` of all and the `exit_codes` of failures."""

    def __init__(self, rows: Sequence[Row], options: argparse.Namespace) -> None:
        self.reports, self.exit_codes = list[dict[str, Any]](), list[int]()
        self._options, self._total = options, len(rows)
        self._task: RowTask | None = None
        self._display = ProgressDisplay(options.quiet)

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def show(self, task: RowTask, event: Event) -> None:
        """Show an event of the volume in progress."""
        if task is not self._task:
            self._task, self._display = task, ProgressDisplay(self._options.quiet)
            say(f"Volume {task.number + 1} of {self._total}: {task.row.volume}", self._options)
            self._display.__enter__()
        event_listener(self._options, self._display)(event)

    def end(self, done: RowOutcome) -> None:
        """Record how a volume ended. Raises CancelledError if the user cancelled it."""
        self._close()
        error, volume = done.error, done.task.row.volume
        if isinstance(error, CancelledError):
            raise error
        if error is None:
            self.reports.append(dict(done.event["report"]))
            say("\n".join(summary_lines(self.reports[-1], self._display.warnings)), self._options)
            return
        named = str(error) if str(volume) in error.message else f"{volume}: {error}"
        print(" ".join(f"error: {named}".split()), file=sys.stderr)
        self.exit_codes.append(error.exit_code)
        failure = {"kind": error.kind, "message": error.message, "hint": str(error.hint)}
        self.reports.append({"volume": {"name": volume_name(volume), "path": str(volume)}, "error": failure})

    def _close(self) -> None:
        if self._task is not None:
            self._display.__exit__(None, None, None)
            self._task = None


def _check(rows: Sequence[Row], folder: Path, options: argparse.Namespace) -> None:
    """Create the folder of the results. Raises BadInputError, before any work, if one would replace another or an
    existing file: the user did not name these files."""
    if options.confidence is not None:
        raise BadInputError("Confidence is written for one volume at a time.", "Omit --confidence, or give one volume.")
    check_rows(rows, folder, {})
    outputs = [row.output(folder) for row in rows]
    for output in outputs:
        if output.exists():
            raise BadInputError(f"The result {output} already exists.", "Remove it, or give another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            f"For several volumes, {folder} has to be a folder, which cannot be created ({error.strerror}).",
            "Give another one.",
        ) from error
    for output in outputs:
        check_writable(output)
    inputs = {path: name for row in rows for name, path in row.inputs.items()}
    check_report(options, {**inputs, **dict.fromkeys(outputs, "output")})
