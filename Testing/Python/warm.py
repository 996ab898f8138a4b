"""One background process for many tests: starting one takes longer than most of them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import brief

from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.worker.protocol import Event


class BriefClient(WorkerClient):
    """Its runs are brief (see there) and take `steps` of learning; None for as many as requested."""

    def __init__(self, python: str, home: Path, steps: int | None) -> None:
        folders = {"FEWSHOTSAM_HOME": str(home), "FEWSHOTSAM_CACHE": str(home / "cache")}
        super().__init__(python, {**os.environ, **folders}, arguments=("-P", brief.__file__))
        self.steps = steps

    def request(self, command: str, parameters: Mapping[str, Any] | None = None) -> str:
        """Request a job; learning takes fewer steps."""
        more = {"steps": self.steps} if command == "propagate" and self.steps is not None else {}
        return super().request(command, {**(parameters or {}), **more})


class WarmClient(BriefClient):
    """Keeps its process when a session closes it, so that tests share one; `end` ends it."""

    def __init__(self, python: str, home: Path) -> None:
        super().__init__(python, home, None)
        self.reports: list[dict[str, Any]] = []

    def poll(self, timeout_s: float = 0.0) -> list[Event]:
        """Poll as usual; keep the reports of finished jobs."""
        events = super().poll(timeout_s)
        self.reports += [dict(event["report"]) for event in events if event["type"] == "result"]
        return events

    def close(self, grace_s: float = 60.0) -> None:
        """End all jobs of the session, but keep the process."""
        for request in list(self._open):
            self.cancel(request, grace_s)
        while self._open and self.running:
            super().poll(0.1)
        self._open = {}
        super().poll()

    def end(self) -> None:
        """End the process."""
        super().close()
