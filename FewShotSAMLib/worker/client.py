"""Talks to the background process from another program: start, request, poll or wait, cancel, close.

Nothing here needs torch or h5py, and only `wait` and `close` block, so that Slicer's own process can use it.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from FewShotSAMLib.core.errors import (
    BadInputError,
    CancelledError,
    FewShotSAMError,
    MemoryShortageError,
    is_memory_limited,
)
from FewShotSAMLib.core.hints import Hint
from FewShotSAMLib.worker.deaths import MEMORY_RAN_OUT, RESTART_HINT, blamed_file, describe_death, memory_kills
from FewShotSAMLib.worker.process import kill_group, start_process, worker_environment
from FewShotSAMLib.worker.protocol import (
    PROTOCOL_VERSION,
    Cancel,
    Event,
    Finish,
    Message,
    Request,
    Shutdown,
    encode_message,
    error_event,
    hint_of,
    parse_event,
)
from FewShotSAMLib.worker.watchdog import memory_note

# -P: a file such as random.py in the user's current folder must not stand in for Python's own.
WORKER_ARGUMENTS = ("-P", "-m", "FewShotSAMLib.worker")
CANCEL_GRACE_S = 1.0
STDERR_LINES = 500
"""Enough for faulthandler's report: the line that says what happened, then the stacks of all threads."""


class WorkerError(FewShotSAMError):
    """A bug in the background process; `log` is the path of the file with the traceback, "" if there is none."""

    def __init__(self, message: str, hint: Hint | str = "", log: str = "") -> None:
        super().__init__(message, hint)
        self.log = log


class WorkerDiedError(WorkerError):
    """The background process ended in the middle of its work, or could not start. `start()` starts a new one."""

    kind = "worker_died"


class WorkerMemoryError(WorkerDiedError):
    """The background process ended because it ran out of memory."""

    exit_code = MemoryShortageError.exit_code


def error_of(event: Event) -> FewShotSAMError:
    """The exception that an error event represents."""
    message, hint = str(event.get("message", "")), hint_of(event)
    for kind in (BadInputError, MemoryShortageError, CancelledError):
        if event.get("kind") == kind.kind:
            return kind(message, hint)
    died = WorkerMemoryError if message.startswith(MEMORY_RAN_OUT) else WorkerDiedError
    error = died if event.get("kind") == WorkerDiedError.kind else WorkerError
    return error(message, hint, str(event.get("log", "")))


def report_of(event: Event) -> dict[str, Any]:
    """The report of a request that ended with this event. Raises the FewShotSAMError that an error represents."""
    if event["type"] == "error":
        raise error_of(event)
    return dict(event["report"])


class WorkerClient:
    """One background process. Call its methods from one thread only; as a context manager it closes at the end.

    `arguments` are those of `python`; `environment` and `host_environment` are explained in
    `worker.process.worker_environment`. The process ends when this object is garbage-collected or its program dies.
    """

    def __init__(
        self,
        python: str | Path = sys.executable,
        environment: Mapping[str, str] | None = None,
        host_environment: bool = True,
        arguments: Sequence[str] = WORKER_ARGUMENTS,
    ) -> None:
        self._command = [str(python), *arguments]
        self._environment = worker_environment(environment, host_environment)
        self._ids = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self._received: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._backlog: list[Event] = []
        self._open: dict[str, float | None] = {}  # unanswered requests -> when to kill the process, once cancelled
        self._kill_reason = ""
        self._reading = ""
        self._kills_before, self._memory_was_scarce = 0, False
        self.log = ""

    def __enter__(self) -> WorkerClient:
        self.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the background process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the background process, None before `start`."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the background process unless it is running; `poll` gives its `ready` event. Raises WorkerDiedError."""
        if self.running:
            return
        if self._process is not None:
            self._clear_away()
        self._kills_before = memory_kills()
        try:
            process = start_process(self._command, self._environment)
        except OSError as error:
            hint = "Check that this Python is installed."
            raise WorkerDiedError(f"{self._command[0]} cannot be started ({error.strerror}).", hint) from error
        self._received, self._stderr = queue.SimpleQueue(), deque(maxlen=STDERR_LINES)
        self._backlog, self._open, self._kill_reason, self.log = [], {}, "", ""
        self._process = process
        # The threads hold only the streams, so this object can be collected; then the pipe closes and the process ends.
        self._finalizer = weakref.finalize(self, _close_quietly, process.stdin)
        self._threads = [
            threading.Thread(target=_collect_events, args=(process.stdout, self._received, self._stderr), daemon=True),
            threading.Thread(target=_collect_text, args=(process.stderr, self._stderr), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def request(self, command: str, parameters: Mapping[str, Any] | None = None) -> str:
        """Queue a job behind earlier ones and return its id. Raises WorkerDiedError if no process is running."""
        if not self.running:
            raise WorkerDiedError("The background process is not running.", "Start it again.", self.log)
        request = Request(f"r{next(self._ids)}", command, dict(parameters or {}))
        self._open[request.id] = None
        self._send(request)
        return request.id

    def poll(self, timeout_s: float = 0.0) -> list[Event]:
        """The events since the last call; with a timeout, wait at most that long for the first one.

        A request's last event is one `result` or one `error`, even if the process died or had to be killed.
        """
        events, self._backlog = self._backlog, []
        deadline = time.monotonic() + timeout_s
        while True:
            self._kill_if_overdue()
            try:
                left = deadline - time.monotonic()
                block = not events and left > 0
                # Short waits, so that a cancelled request is not given more than its grace time while no event arrives.
                event = self._received.get(block, min(left, 0.1) if block else None)
            except queue.Empty:
                if events or time.monotonic() >= deadline:
                    return events
                continue
            events.extend(self._digest(event))

    def wait(self, request_id: str, on_event: Callable[[Event], None] | None = None) -> dict[str, Any]:
        """Wait for a request to end and return its report; `on_event` receives the events before that.

        Raises the FewShotSAMError that the request ended with: BadInputError, MemoryShortageError, CancelledError,
        WorkerDiedError, or WorkerError for a bug. Events of other requests are kept for `poll`.
        """
        others: list[Event] = []
        try:
            while True:
                self._backlog = self.poll(timeout_s=0.5)
                while self._backlog:
                    event = self._backlog.pop(0)
                    if event.get("id") != request_id:
                        others.append(event)
                    elif event["type"] in ("result", "error"):
                        return report_of(event)
                    elif on_event is not None:
                        on_event(event)
                if request_id not in self._open:
                    raise ValueError(f"There is no open request {request_id!r}")
        finally:
            self._backlog = others + self._backlog

    def cancel(self, request_id: str, grace_s: float = CANCEL_GRACE_S) -> None:
        """Ask a request to stop. If no answer comes within the grace time, `poll` kills the process with its group.

        The answer is an `error` event of kind "cancelled". Does nothing if the request has already ended.
        """
        if request_id in self._open:
            self._open[request_id] = time.monotonic() + grace_s
            self._send(Cancel(request_id))

    def finish(self, request_id: str) -> None:
        """Ask a request to stop training and return the result so far. Does nothing if it is not training at the
        moment or has ended."""
        if request_id in self._open:
            self._send(Finish(request_id))

    def close(self, grace_s: float = 2.0) -> None:
        """End the background process: politely, then by closing its stdin, then by force. Running jobs are lost."""
        if self._process is None:
            return
        self._send(Shutdown())
        for patience in (grace_s, 1.0):
            try:
                self._process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                self._finalizer()  # closes its stdin
        self._clear_away()
        self._backlog, self._open = [], {}

    def _send(self, message: Message) -> None:
        assert self._process is not None and self._process.stdin is not None
        if not self._process.stdin.closed:
            with contextlib.suppress(OSError):  # it died, which `poll` reports with all that is known
                self._process.stdin.write(encode_message(message))
                self._process.stdin.flush()

    def _digest(self, event: Event | None) -> list[Event]:
        """Turn one item from the reading thread into events for the caller; None is the end of the stream."""
        if event is None:
            return self._report_death()
        if event["type"] == "ready":
            self.log = str(event.get("log", ""))
            if event.get("version") != PROTOCOL_VERSION:
                self._kill("it belongs to another version of FewShotSAM")
        if event["type"] == "progress":
            self._reading = str(event.get("file", ""))
        if event["type"] in ("result", "error"):
            self._open.pop(str(event.get("id")), None)
        return [event]

    def _report_death(self) -> list[Event]:
        """The process has ended: return an error event for each unanswered request."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):  # its own exit code says more than that of a kill
            self._process.wait(2)
        self._clear_away()
        message = f"The background process was ended: {self._kill_reason}."
        hint: Hint | str = RESTART_HINT
        if not self._kill_reason:
            code, said = self._process.returncode, list(self._stderr)
            message, hint = describe_death(code, said, self.log, self._memory_ran_out())
            message += f" It was reading {self._reading}." if self._reading else ""
        events = []
        blame = None if self._kill_reason else blamed_file(self._process.returncode, self._reading)
        for request_id, deadline in self._open.items():
            if deadline is None and blame is not None:
                events.append(error_event(request_id, BadInputError.kind, blame.message, blame.hint))
            elif deadline is None:
                events.append(error_event(request_id, WorkerDiedError.kind, message, hint, self.log))
            else:
                text = "The run was cancelled; the background process did not answer and was ended."
                events.append(error_event(request_id, CancelledError.kind, text, "Nothing was written."))
        self._open = {}
        return events

    def _memory_ran_out(self) -> bool:
        assert self._process is not None
        crashed = (self._process.returncode or 0) < 0
        return self._memory_was_scarce or memory_kills() > self._kills_before or (crashed and is_memory_limited())

    def _kill_if_overdue(self) -> None:
        now = time.monotonic()
        if not self._kill_reason and any(deadline and now > deadline for deadline in self._open.values()):
            self._kill("a cancelled run did not stop")

    def _kill(self, reason: str) -> None:
        assert self._process is not None
        self._kill_reason = reason
        kill_group(self._process)

    def _clear_away(self) -> None:
        """Kill what is left of the process group, and close pipes and threads."""
        assert self._process is not None
        kill_group(self._process)
        for thread in self._threads:
            thread.join(2)
        self._finalizer()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._memory_was_scarce = bool(self.log) and memory_note(self.log).exists()
        if self._memory_was_scarce:
            with contextlib.suppress(OSError):
                memory_note(self.log).unlink(missing_ok=True)


def follow(
    client: WorkerClient, request_id: str, listen: Callable[[Event], None], interrupts: Callable[[], int]
) -> Event:
    """Wait for a request and return its last event, a result or error; `listen` receives all events.

    `interrupts` says how often the user has asked to stop: the first time the job is cancelled, the second time killed.
    """
    handled = 0
    while True:
        for event in client.poll(timeout_s=0.2):
            if event.get("id") != request_id:
                continue
            listen(event)
            if event["type"] in ("result", "error"):
                return event
        if interrupts() > handled:
            client.cancel(request_id, *([] if handled == 0 else [0.0]))
            handled = interrupts()


def _close_quietly(stream: IO[bytes] | None) -> None:
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError):  # closing flushes; that nobody is there to read is fine
        stream.close()


def _collect_events(stream: IO[bytes], events: queue.SimpleQueue[Event | None], other: deque[str]) -> None:
    for line in stream:
        event = parse_event(line)
        if event is None:
            other.append(line.decode("utf-8", "replace").rstrip())
        else:
            events.put(event)
    events.put(None)


def _collect_text(stream: IO[bytes], lines: deque[str]) -> None:
    for line in stream:
        lines.append(line.decode("utf-8", "replace").rstrip())
