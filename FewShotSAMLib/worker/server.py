"""The background process: reads requests from stdin, runs one job at a time, and writes events to stdout."""

from __future__ import annotations

import faulthandler
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.core.files import clear_pending
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.worker.failures import failure_event
from FewShotSAMLib.worker.logs import open_log
from FewShotSAMLib.worker.protocol import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    Cancel,
    Event,
    Finish,
    MalformedLineError,
    Request,
    Shutdown,
    encode,
    error_event,
    parse_message,
)
from FewShotSAMLib.worker.watchdog import Watchdog

Job = Callable[[dict[str, Any], JobContext], dict[str, Any]]


@dataclass(frozen=True)
class JobControl:
    """What the parent asks of a running job: to stop, or to end its training."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)


class Server:
    """Jobs run in the main thread, one after the other; a second thread reads stdin and answers cancellations.

    `jobs` maps a command to its function; None means the engine's own, imported with the first request so that
    the process is ready at once, and a broken installation is an error event instead of a crash.
    """

    def __init__(self, jobs: Mapping[str, Job] | None = None) -> None:
        self._jobs, self._has_own_jobs = jobs, jobs is None
        self._state: dict[str, Any] = {}
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._running: dict[str, JobControl] = {}
        self._write_lock = threading.Lock()
        self._log: Path | None = None
        self._watchdog: Watchdog | None = None

    def run(self) -> int:
        """Serve until a shutdown message comes and return 0. When stdin closes, the process ends at once."""
        self._requests, self._events = _claim_streams()
        faulthandler.enable()
        self._log = open_log()
        self._watchdog = Watchdog.start(self._requests, self._log)
        self._send({"type": "ready", "version": PROTOCOL_VERSION, "pid": os.getpid(), "log": str(self._log or "")})
        threading.Thread(target=self._read_requests, name="requests", daemon=True).start()
        while (request := self._queue.get()) is not None:
            self._serve(request)
        return 0

    def _serve(self, request: Request) -> None:
        """Run one request to its result or error event."""
        context = None
        try:
            # While torch is imported, a request counts as waiting: it can be cancelled, though the import goes on.
            job = self._job(request.command)
            control = self._begin(request.id)
            if control is None:
                return
            self._guard_outputs(request.parameters)
            parameters = {name: value for name, value in request.parameters.items() if name != "job_folder"}
            context = self._context(request, control)
            report = job(parameters, context)
            self._finish({"type": "result", "id": request.id, "report": report})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a job may fail in any way; the process lives on
            self._finish(failure_event(request.id, error, self._log, None if context is None else context.file))

    def _job(self, command: str) -> Job:
        if self._has_own_jobs and command == "read_volume":  # opening a volume need not wait for torch
            from FewShotSAMLib.worker.reading import read_volume

            return read_volume
        if self._jobs is None:
            from FewShotSAMLib.engine.jobs import JOBS

            self._jobs = JOBS
        if command not in self._jobs:
            names = ", ".join(sorted(self._jobs))
            raise BadInputError(f"There is no command “{command}”.", f"Use one of: {names}.")
        return self._jobs[command]

    def _context(self, request: Request, control: JobControl) -> JobContext:
        def send(kind: str, fields: Mapping[str, Any]) -> None:
            self._send({**fields, "type": kind, "id": request.id})

        folder = request.parameters.get("job_folder")
        place = Path(folder) if folder else None
        return JobContext(send, control.cancelled, place, self._state, enough=control.enough)

    def _guard_outputs(self, parameters: Mapping[str, Any]) -> None:
        """Tell the watchdog where files may be written: next to anything in the parameters that could be a path."""
        if self._watchdog is not None:
            texts = [value for value in parameters.values() if isinstance(value, str) and value]
            places = [Path(text).absolute() for text in texts]
            self._watchdog.guard({path.parent for path in places} | {Path(os.path.realpath(p)).parent for p in places})

    def _begin(self, request_id: str) -> JobControl | None:
        """Move a request from waiting to running; None if it was cancelled meanwhile."""
        with self._lock:
            if request_id not in self._waiting:
                return None
            self._waiting.remove(request_id)
            self._running[request_id] = JobControl()
            return self._running[request_id]

    def _finish(self, event: Event) -> None:
        """Send a request's last event, unless that was sent already when it was cancelled."""
        line = encode(event)  # first, as a report that JSON cannot hold is a failure of the job
        with self._lock:
            known = event["id"] in self._waiting or event["id"] in self._running
            self._waiting.discard(event["id"])
            self._running.pop(event["id"], None)
        if known:
            self._write(line)

    def _read_requests(self) -> None:
        try:
            for line in _lines(self._requests):
                try:
                    self._receive(line)
                except MalformedLineError as error:
                    self._send(error_event(error.request_id, error.kind, error.message, error.hint))
        finally:  # whatever ended the reading: a process that receives no more requests must not live on
            self._end_now()

    def _receive(self, line: bytes) -> None:
        message = parse_message(line)
        if isinstance(message, Shutdown):
            self._shut_down()
        elif isinstance(message, Cancel):
            self._cancel(message.id)
        elif isinstance(message, Finish):
            with self._lock:
                if (control := self._running.get(message.id)) is not None:
                    control.enough.set()
        else:
            self._enqueue(message)

    def _enqueue(self, request: Request) -> None:
        with self._lock:
            if request.id in self._waiting or request.id in self._running:
                raise MalformedLineError(f"A request with the id {request.id!r} is already there.")
            self._waiting.add(request.id)
        self._queue.put(request)

    def _cancel(self, request_id: str) -> None:
        """Flag a running job; answer for a waiting one at once. One that has just ended needs no answer."""
        with self._lock:
            if request_id in self._running:
                self._running[request_id].cancelled.set()
            waiting = request_id in self._waiting
            self._waiting.discard(request_id)
        if waiting:
            error = CancelledError("The run was cancelled before it began.", "Nothing was written.")
            self._send(error_event(request_id, error.kind, error.message, error.hint))

    def _shut_down(self) -> None:
        with self._lock:
            self._waiting.clear()
            for control in self._running.values():
                control.cancelled.set()
        self._queue.put(None)

    def _send(self, event: Event) -> None:
        self._write(encode(event))

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            with self._write_lock:
                while rest:
                    rest = rest[os.write(self._events, rest) :]
        except OSError:
            self._end_now()

    def _end_now(self) -> NoReturn:
        """The parent has ended: remove half-written files and exit without waiting for the running job."""
        clear_pending()
        os._exit(0)


def _claim_streams() -> tuple[int, int]:
    """Private descriptors for requests and events.

    Libraries' prints go to stderr, and what they read from stdin is empty, so that neither disturbs these streams.
    """
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, events


def _lines(descriptor: int) -> Iterator[bytes]:
    """The non-empty lines from a pipe until it closes; a line of absurd length is cut, and so becomes malformed.

    Read without Python's buffered files, whose lock could block the process from ending.
    """
    rest = b""
    while chunk := os.read(descriptor, 65536):
        *complete, rest = (rest + chunk).split(b"\n")
        rest = rest[: MAX_LINE_BYTES + 1]
        yield from (line[: MAX_LINE_BYTES + 1] for line in complete if line.strip())
