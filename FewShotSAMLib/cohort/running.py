"""Runs the missing rows of a cohort, in up to two attempts, and keeps the reports of all rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from FewShotSAMLib.cohort.jobs import Backend, Interrupts, RowOutcome, RowTask
from FewShotSAMLib.cohort.page import write_page
from FewShotSAMLib.cohort.plan import Row
from FewShotSAMLib.cohort.state import DONE, OTHER, CohortPaths, key_of, row_status
from FewShotSAMLib.cohort.table import TableEntry, entry_of, ranked, write_table
from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError, MemoryShortageError
from FewShotSAMLib.worker.client import WorkerDiedError

_SPARE_BYTES, _SPARE_PER_ROW = 1 << 20, 16_000
"""Disk space for table and page, in addition to that for the largest result so far; with less, no further row is
started."""
_AGAIN = (WorkerDiedError.kind, MemoryShortageError.kind)
"""Errors of rows that may well succeed when run alone, as rows compete for memory."""


@dataclass
class Cohort:
    """All rows, the results of earlier calls, and what this call does.

    reports: of rows that are done, by name. failures: of rows that failed in this call. parameters: common to all rows.
    """

    rows: Sequence[Row]
    paths: CohortPaths
    parameters: Mapping[str, Any]
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, FewShotSAMError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    missing: list[RowTask] = field(default_factory=list)
    _largest: int = 0

    @classmethod
    def prepared(cls, rows: Sequence[Row], paths: CohortPaths, parameters: Mapping[str, Any], replace: bool) -> Cohort:
        """Find out which results exist and which are missing. Raises BadInputError if some were made from other files
        or options, unless they are to be replaced."""
        cohort, others = cls(rows, paths, parameters), []
        for number, row in enumerate(rows):
            own = row.parameters(parameters)
            key = key_of(row, own)
            state, record = row_status(row, key, paths)
            if state == DONE and record is not None:
                cohort.reports[row.name] = record
                continue
            if state == OTHER:
                others.append(row)
            cohort.missing.append(RowTask(row, {**own, **paths.files_of(row, key)}, number))
        if others and not replace:
            more = f", and {len(others) - 1} more" if len(others) > 1 else ""
            raise BadInputError(
                f"The result {others[0].output(paths.folder)} already exists{more}, made from other files or options.",
                "Choose another folder, or replace such results with --replace.",
            )
        return cohort

    def run(
        self, backend: Backend, on_done: Callable[[RowOutcome], None], interrupts: Interrupts
    ) -> FewShotSAMError | None:
        """Compute what is missing; call on_done for each row that will not be tried again. Return why it stopped early
        (cancelled by the user, or a full disk), or None."""
        again: list[RowTask] = []
        for attempt, tasks in ((1, self.missing), (2, again)):
            stopped: list[FewShotSAMError] = []
            left = self._while_room(iter(tasks), stopped)
            for done in backend.run(left, lambda task, event: None, interrupts, alone=attempt == 2):
                error = done.error
                if isinstance(error, CancelledError):
                    continue
                if attempt == 1 and error is not None and error.kind in _AGAIN:
                    again.append(done.task)
                    continue
                self._keep(done)
                on_done(done)
            if interrupts():
                return CancelledError("Cancelled.", "Run the same command again to continue.")
            if stopped:
                return stopped[0]
        return None

    def sizes(self) -> list[int]:
        """Return the size in bytes of each missing row's volume."""
        return [_size(task.row.volume) for task in self.missing]

    def write_tables(self) -> list[TableEntry]:
        """Write table and page of all rows, and return their entries. Raises BadInputError."""
        entries = ranked(self._entry(row) for row in self.rows)
        write_table(entries, self.paths.table)
        by_name = {row.name: row for row in self.rows}
        write_page(entries, self.paths.page, lambda entry: self.paths.strip(by_name[entry.name]))
        return entries

    def _entry(self, row: Row) -> TableEntry:
        paths = {**row.inputs, "result": row.output(self.paths.folder), "results": self.paths.folder}
        return entry_of(row.name, self.reports.get(row.name), self.failures.get(row.name), paths, row.kept)

    def _keep(self, done: RowOutcome) -> None:
        name = done.task.row.name
        self.seconds[name] = done.seconds
        if done.error is not None:
            self.failures[name] = done.error
        elif done.report is not None:
            self.reports[name] = done.report
            self._largest = max(self._largest, done.task.row.output(self.paths.folder).stat().st_size)

    def _while_room(self, tasks: Iterator[RowTask], stopped: list[FewShotSAMError]) -> Iterator[RowTask]:
        """Yield the tasks until the disk is full, so as not to compute for hours what cannot be written."""
        spare = _SPARE_BYTES + _SPARE_PER_ROW * len(self.rows)
        for task in tasks:
            if shutil.disk_usage(self.paths.folder).free < 2 * self._largest + spare:
                hint = "Free some space, then run the same command again to continue."
                stopped.append(BadInputError(f"The disk of {self.paths.folder} is full.", hint))
                return
            yield task


def _size(volume: Path) -> int:
    if volume.is_dir():
        return sum(file.stat().st_size for file in volume.rglob("*") if file.is_file())
    return volume.stat().st_size if volume.is_file() else 0
