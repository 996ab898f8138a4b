"""A background process under a parent, with its watchdog, forked from a process that has torch loaded (Linux).

It is the real server, client and watchdog, but for the seconds in which a new Python would load its libraries.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from processes import children_of

from FewShotSAMLib.core import files
from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.worker import client as client_module
from FewShotSAMLib.worker.client import WorkerClient
from FewShotSAMLib.worker.server import Server

PATIENCE_S = 60.0
_SUBREAPER = 36
END = "end"
"""Of the stages that a tree tells; its parent has its answer then."""


def adopt_orphans() -> None:
    """From now on descendants whose parent dies are this process's children, so that none can be overlooked."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


class Tree:
    """One request in a background process of its own, under a parent of its own, which tells the stages as they begin.

    state: what the background process has in memory. waits: it does nothing until `go` is called.
    """

    def __init__(
        self, command: str, parameters: Mapping[str, Any], state: Mapping[str, Any] | None = None, waits: bool = False
    ) -> None:
        self._told, told = os.pipe()
        gate, self._gate = os.pipe()
        self.parent = os.fork()
        if self.parent == 0:
            _in_child(lambda: _parent(told, gate, command, parameters, dict(state or {})))
        os.close(told)
        os.close(gate)
        self._rest, self.is_told_out = b"", False
        self.answer = ""
        self.worker = int(self.next_stage())
        if not waits:
            self.go()

    def go(self) -> None:
        """Let the background process begin."""
        os.write(self._gate, b"g")

    def next_stage(self, timeout_s: float = PATIENCE_S) -> str:
        """The next line that the parent tells; "" where none comes in that time, or none will."""
        end = time.monotonic() + timeout_s
        while b"\n" not in self._rest and not self.is_told_out:
            if not select.select([self._told], [], [], max(0.0, end - time.monotonic()))[0]:
                return ""
            got = os.read(self._told, 65536)
            self._rest += got
            self.is_told_out = not got
        line, _, self._rest = self._rest.partition(b"\n")
        text = line.decode()
        if text.startswith(END):
            self.answer, text = text.removeprefix(END + " "), END
        return text

    def finish(self) -> None:
        """Hear all that is told."""
        while self.next_stage():
            pass

    def bury(self) -> bool:
        """Wait until all of the tree is gone; False where some of it lives on, which is killed then."""
        end = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < end:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)
            for each in (self.parent, self.worker, *children_of(self.worker)):
                os.kill(each, signal.SIGKILL)
            return False
        except (ChildProcessError, ProcessLookupError):
            return time.monotonic() < end
        finally:
            os.close(self._told)
            os.close(self._gate)


def _in_child(work: Callable[[], object]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001 - a fork must never go on as its parent would
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    os._exit(code)


class _Forked:
    """What `worker.process.start_process` gives (subprocess.Popen), forked instead of started."""

    def __init__(self, gate: int, told: int, state: dict[str, Any]) -> None:
        requests, to_worker = os.pipe()
        events, from_worker = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for each in (to_worker, events, told):
                os.close(each)
            _in_child(lambda: _worker(requests, from_worker, gate, state))
        os.close(requests)
        os.close(from_worker)
        self.stdin, self.stdout, self.stderr = os.fdopen(to_worker, "wb"), os.fdopen(events, "rb"), io.BytesIO()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, timeout: float = PATIENCE_S) -> int | None:
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        return self.returncode


def _worker(requests: int, events: int, gate: int, state: dict[str, Any]) -> None:
    os.setsid()
    os.dup2(requests, 0)
    os.dup2(events, 1)
    os.close(requests)
    os.close(events)
    os.read(gate, 1)
    # Names of temporary files that another process can foretell.
    numbers = itertools.count(1)
    files.secrets = type("Counter", (), {"token_hex": staticmethod(lambda size: f"{next(numbers):08x}")})  # type: ignore[attr-defined]
    server = Server()
    server._state = state
    os._exit(server.run())


def _parent(told: int, gate: int, command: str, parameters: Mapping[str, Any], state: dict[str, Any]) -> None:
    def tell(text: str) -> None:
        os.write(told, text.replace("\n", " ").encode() + b"\n")

    client_module.start_process = lambda *_: _Forked(gate, told, state)  # type: ignore[assignment]
    stage = ""
    with WorkerClient() as client:
        tell(str(client.pid))
        request = client.request(command, parameters)

        def listen(event: Mapping[str, Any]) -> None:
            nonlocal stage
            if event["type"] == "progress" and event["stage"] != stage:
                stage = str(event["stage"])
                tell(stage)

        try:
            client.wait(request, listen)
            tell(f"{END} result")
        except FewShotSAMError as error:
            tell(f"{END} {error.kind} {error}")
