"""Applies a few-shot model to several volumes of the served folder, as a cohort; results and table go there, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web.contents import Contents
from FewShotSAMLib.web.triggers import Triggers
from FewShotSAMLib.workflow import ModelEntry
from FewShotSAMLib.workflow.cohort_job import CohortJob, rows_of

TABLE = "/cohort.html"
"""Route of the last table."""


class Several:
    """At most one such job at a time; `poll` returns whether there is news."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder, self._python = folder, python
        self._job: CohortJob | None = None
        self._shown: Contents = {}

    @property
    def is_running(self) -> bool:
        """Whether volumes are being segmented."""
        return self._job is not None and self._job.is_running

    def begin(self, entry: ModelEntry, volumes: Sequence[Path], parameters: dict[str, Any]) -> None:
        """Segment the volumes, keeping earlier results. Raises BadInputError if a job is running, or as `CohortJob`."""
        if self.is_running:
            raise BadInputError("Several volumes are already being segmented.", "Wait for them, or choose Stop.")
        results = self._folder / f"{entry.name} results"
        self._job = CohortJob(rows_of(entry.path, volumes, self._folder), results, parameters, self._python)

    def stop(self) -> None:
        """Stop the job; beginning it again with the same volumes continues it."""
        if self._job is not None:
            self._job.stop()

    def close(self) -> None:
        """Stop the job, and wait for its end."""
        if self._job is not None:
            self._job.close()

    def poll(self) -> bool:
        """Whether there is something new to show. Raises the error of a job that could not continue."""
        if self._job is not None and not self._job.is_running and self._job.error is not None:
            error, self._job.error = self._job.error, None
            raise error
        shown, self._shown = self._shown, self.contents()
        return shown != self._shown

    def contents(self) -> Contents:
        """What the page shows."""
        job = self._job
        if job is None:
            return {"text": "", "is_running": False, "has_table": False}
        failed = f", {job.failed} failed" if job.failed else ""
        text = f"{job.done} of {job.total} volumes segmented{failed}. Results: {job.paths.folder.name}"
        return {
            "text": text,
            "is_running": job.is_running,
            "has_table": not job.is_running and job.paths.page.is_file(),
        }

    def table(self) -> bytes:
        """The last job's page. Raises BadInputError if there is none."""
        if self._job is None or not self._job.paths.page.is_file():
            raise BadInputError("There is no table yet.", "Apply a model to several volumes first.")
        return self._job.paths.page.read_bytes()


class SeveralActions(Triggers):
    """Requests of the section Few-shot models that concern several volumes."""

    def choose_several(self, name: str) -> None:
        """Show the volumes of the served folder, so that the user ticks those to segment."""
        self._app.models.entry(str(name))
        self._app.ask("show_several", volumes=self._app.folder.volumes(), several_model=str(name))

    def apply_to_several(self, name: str, volumes: list[str]) -> None:
        """Segment volumes of the served folder, each into its own file."""
        known = set(self._app.folder.volumes())
        chosen = list(dict.fromkeys(volumes))
        if not chosen or not known.issuperset(chosen):
            raise BadInputError("These are not volumes of the served folder.", "Tick volumes in the list.")
        parameters = self._app.session.settings.computing()
        paths = [self._app.folder.resolve(each) for each in chosen]
        self._app.several.begin(self._app.models.entry(str(name)), paths, parameters)
        self._app.show()

    def stop_several(self) -> None:
        """Stop; the volumes segmented so far are kept."""
        self._app.several.stop()
