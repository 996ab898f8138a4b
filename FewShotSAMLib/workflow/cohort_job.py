"""Runs a cohort in a thread, for a front end that polls: a model on several files, in a pool of processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from FewShotSAMLib.cohort.find import place_name
from FewShotSAMLib.cohort.jobs import RowOutcome, check_model
from FewShotSAMLib.cohort.plan import Row, check_rows
from FewShotSAMLib.cohort.pool import Pool, Resources
from FewShotSAMLib.cohort.running import Cohort
from FewShotSAMLib.cohort.state import CohortPaths
from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.options import AUTOMATIC_ENCODER
from FewShotSAMLib.worker.client import WorkerClient

THREADS = 1


def rows_of(model: Path, volumes: Sequence[Path], folder: Path) -> list[Row]:
    """A row for each volume of a folder, named by its path within the folder."""
    return [Row(place_name(volume, folder, dicom_names=False), volume, model=model) for volume in volumes]


class CohortJob:
    """A cohort that starts at once; `done` and `failed` count the rows that have ended so far, of `total`.

    python: the interpreter of the background processes. Raises BadInputError for invalid rows, and if the folder
    already holds results made from other files or with other options.
    """

    def __init__(self, rows: Sequence[Row], folder: Path, parameters: dict[str, Any], python: str | Path) -> None:
        check_rows(rows, folder, {})
        self.paths, self._python = CohortPaths(folder), python
        self.paths.make()
        self._work = Cohort.prepared(rows, self.paths, {**parameters, "no_cache": True}, replace=False)
        self.total, self.done, self.failed = len(rows), len(self._work.reports), 0
        self.error: BaseException | None = None
        self._stops = 0
        self._thread = threading.Thread(target=self._run, name="cohort", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether rows are still being computed."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop what is running; finished rows stay, and starting the same job again continues with the rest."""
        self._stops += 1

    def close(self) -> None:
        """Stop, and wait until the thread has ended."""
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            if self._work.missing:
                self._compute(WorkerClient(self._python, environment=Resources(THREADS).environment))
            self._work.write_tables()
        except BaseException as error:  # noqa: BLE001 - reported by whoever polls
            self.error = error

    def _compute(self, first: WorkerClient) -> None:
        device = str(self._work.parameters.get("device", "auto"))
        try:
            if (model := self._work.missing[0].row.model) is not None:
                check_model(first, model)
            pool = Pool.fitting(first, None, THREADS, device, AUTOMATIC_ENCODER, self._work.sizes(), self._python)
        except BaseException:
            first.close()
            raise
        try:
            stopped = self._work.run(pool, self._count, lambda: self._stops)
        finally:
            pool.close()
        if isinstance(stopped, FewShotSAMError) and not self._stops:
            self._work.write_tables()
            raise stopped

    def _count(self, ended: RowOutcome) -> None:
        self.done, self.failed = self.done + (ended.error is None), self.failed + (ended.error is not None)
