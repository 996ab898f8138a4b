"""Submits requests to the background process and delivers its events to the callers, all in the main thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.worker.client import WorkerClient, error_of
from FewShotSAMLib.worker.protocol import Event
from FewShotSAMLib.workflow.job import Job, Progress, progress_of
from FewShotSAMLib.workflow.message import WARNING, Message


class Requests:
    """The requests under way. The process is started with the first one, and again after it has died.

    on_progress, on_message and on_log receive everything other than results; on_end(job, error) is called when a
    request ends, with error None after a result.
    """

    def __init__(
        self,
        client: WorkerClient,
        on_progress: Callable[[Progress], None],
        on_message: Callable[[Message], None],
        on_log: Callable[[str], None],
        on_end: Callable[[Job, FewShotSAMError | None], None],
    ) -> None:
        self._client = client
        self._on_progress, self._on_message, self._on_log, self._on_end = on_progress, on_message, on_log, on_end
        self._jobs: dict[str, Job] = {}

    @property
    def is_running(self) -> bool:
        """Whether the process is running."""
        return self._client.running

    @property
    def run(self) -> Job | None:
        """The run under way, None if there is none."""
        return next((job for job in self._jobs.values() if job.is_run), None)

    def is_under_way(self, command: str) -> bool:
        """Whether a request with this command waits for its answer."""
        return any(job.command == command for job in self._jobs.values())

    def submit(
        self,
        command: str,
        parameters: Mapping[str, Any],
        on_result: Callable[[dict[str, Any]], None],
        on_preview: Callable[[Event], None] | None = None,
        is_run: bool = False,
        on_drop: Callable[[], None] | None = None,
    ) -> None:
        """Submit a request; arguments as in `Job`. Raises WorkerDiedError if the process cannot be started."""
        self._client.start()
        if is_run:
            self._drop_others()
        request = self._client.request(command, parameters)
        self._jobs[request] = Job(request, command, on_result, on_preview, is_run, on_drop)
        self._on_log(f"{command}: {', '.join(f'{name} {value}' for name, value in parameters.items())}")

    def poll(self) -> None:
        """Deliver the events since the last call. A FewShotSAMError raised by an observer ends its request."""
        if self._client.running or self._jobs:
            for event in self._client.poll():
                self._deliver(event)

    def cancel_run(self) -> None:
        """Ask the run to stop; `poll` reports its end within a second or little more."""
        if self.run is not None:
            self._client.cancel(self.run.request_id)

    def finish_run(self) -> None:
        """Accept the run's first answer as it is."""
        if self.run is not None:
            self._client.finish(self.run.request_id)

    def drop_run(self) -> None:
        """Cancel the run, if there is one, and ignore its further events."""
        self.cancel_run()
        self._jobs = {request: job for request, job in self._jobs.items() if not job.is_run}

    def _drop_others(self) -> None:
        """Cancel the requests over which a run has priority."""
        for job in [job for job in self._jobs.values() if job.on_drop is not None]:
            self._client.cancel(job.request_id)
            del self._jobs[job.request_id]
            assert job.on_drop is not None
            job.on_drop()

    def close(self) -> None:
        """End the background process."""
        self._jobs = {}
        self._client.close()

    def _deliver(self, event: Event) -> None:
        if event["type"] == "ready":
            self._on_log(f"Background process {event.get('pid')} is ready; its log: {event.get('log')}")
        job = self._jobs.get(str(event.get("id")))
        if job is None:
            return
        try:
            self._tell(job, event)
        except FewShotSAMError as error:
            self._jobs.pop(job.request_id, None)
            self._client.cancel(job.request_id)
            self._on_end(job, error)

    def _tell(self, job: Job, event: Event) -> None:
        kind = event["type"]
        if kind == "progress":
            self._on_progress(progress_of(event))
        elif kind == "warning":
            self._on_message(Message(WARNING, str(event["message"])))
        elif kind == "metric":
            self._on_log(f"{event['name']}: {event['value']}")
        elif kind == "preview" and job.on_preview is not None:
            job.on_preview(event)
        elif kind == "result":
            del self._jobs[job.request_id]
            job.on_result(dict(event["report"]))
            self._on_end(job, None)
        elif kind == "error":
            raise error_of(event)
