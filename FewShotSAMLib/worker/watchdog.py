"""A second, tiny process that ends the background process when its parent has ended, whatever it is doing.

The background process notices a closed stdin in a thread of its own. That thread cannot run while some C code holds
Python's global lock: SimpleITK 2.5, NumPy, SciPy, h5py and torch's operations release it, importing torch holds it for
half a second, and nobody knows what the next library does. So this program watches the same pipe from outside. It also
removes the half-written files of a background process that was killed, restores files if only some of a set were
replaced, and leaves a note next to the log if memory was scarce before the process died: the launcher of Slicer's
Python (CTKAppLauncher) reports every death as exit code 1.
It is a script that needs only the standard library: quick to start, nothing to break.
Linux's PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the process ends.
POSIX only; on Windows the thread does the work as soon as the C code returns.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

GRACE_S = 0.7
"""How long the background process has to end by itself, cleanly, once its parent has ended."""
TICK_S = 0.2
MEMORY_FILE = Path("/proc/meminfo")
GROUP_FILE = Path("/proc/self/cgroup")
GROUP_ROOT = Path("/sys/fs/cgroup")
SCARCE = 0.04
"""Share of the memory; if less is free, the system is about to kill processes."""
LOOKED_BACK_S = 3.0
NOTE_SUFFIX = ".memory"


class Watchdog:
    """The background process's handle on its watchdog."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, lifeline: int, log: Path | None = None) -> Watchdog | None:
        """Watch this process as long as somebody holds the other end of the pipe `lifeline` open.

        log: the note on scarce memory is placed next to it, see `memory_note`.
        """
        if os.name != "posix":
            return None
        command = [sys.executable, "-P", "-S", __file__, str(os.getpid()), str(lifeline), str(log or "")]
        quiet = subprocess.DEVNULL
        try:
            # In its own session, it outlives a kill of the process group just long enough to clean up.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, pass_fds=[lifeline], start_new_session=True
            )
        except OSError:
            logging.getLogger(__name__).warning("The watchdog could not be started", exc_info=True)
            return None
        return cls(process)

    def guard(self, folders: Iterable[Path]) -> None:
        """Have half-written files of this process in `folders` removed if it is killed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(json.dumps(str(folder)) + "\n" for folder in folders).encode("ascii"))
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # somebody killed the watchdog; the work goes on without


def watch(worker: int, lifeline: int, control: int, log: str) -> None:
    """Return when the process `worker` has ended; end it when `lifeline` has no writers left.

    Then remove what it leaves behind: half-written files in the folders named on `control`, one JSON string per
    line, and its own children if it led a session.
    """
    leads_session = _leads_session(worker)
    os.set_blocking(control, False)
    received = bytearray()
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(control, select.POLLIN)
    deadline = float("inf")
    note = _Note(log)
    # Another parent, or the end of `control`: the worker has ended.
    while os.getppid() == worker and time.monotonic() < deadline:
        ready = dict(poll.poll(TICK_S * 1000))
        note.update()
        if control in ready and _read(control, received):
            break
        if ready.get(lifeline, 0) & ~select.POLLIN:
            poll.unregister(lifeline)
            deadline = time.monotonic() + GRACE_S
        elif lifeline in ready:
            time.sleep(TICK_S)  # requests wait in the pipe; only its end is of interest here
    if deadline < float("inf"):
        note.remove()  # nobody is left to read it
    _kill(worker, leads_session)
    _read(control, received)
    tidy(worker, {json.loads(line) for line in received.split(b"\n")[:-1]})


class _Note:
    """The file of `memory_note`: it exists while memory is scarce and for some seconds after."""

    def __init__(self, log: str) -> None:
        self._path = memory_note(log) if log else None
        self._scarce_at: float | None = None

    def update(self) -> None:
        share = free_share()
        if share is not None and share < SCARCE:
            if self._path is not None and self._scarce_at is None:
                with contextlib.suppress(OSError):  # it is only an aid to diagnosis
                    self._path.touch()
            self._scarce_at = time.monotonic()
        elif self._scarce_at is not None and time.monotonic() > self._scarce_at + LOOKED_BACK_S:
            self.remove()

    def remove(self) -> None:
        self._scarce_at = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def memory_note(log: str | Path) -> Path:
    """The file whose existence says that memory is scarce for the process with this log.

    It is written before the process dies, not after, so that it exists when somebody notices the death. Whoever
    ends the process removes it.
    """
    return Path(f"{log}{NOTE_SUFFIX}")


def free_share() -> float | None:
    """Share of the memory that is free, of the computer or of the control group around us; None if unknown."""
    try:
        free = _numbers(MEMORY_FILE)
        shares = [free["MemAvailable:"] / free["MemTotal:"]]
    except (OSError, KeyError, ValueError):
        return None
    with contextlib.suppress(OSError, KeyError, ValueError):  # no control group, or one without a limit
        group = GROUP_ROOT / GROUP_FILE.read_text().rpartition("::")[2].strip().lstrip("/")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        shares.append((limit - used + _numbers(group / "memory.stat")["inactive_file"]) / limit)
    return min(shares)


def _numbers(path: Path) -> dict[str, int]:
    """The first word of each line and the number after it."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) > 1}


def _leads_session(process: int) -> bool:
    try:
        return os.getsid(process) == process
    except ProcessLookupError:
        return False


def _read(control: int, received: bytearray) -> bool:
    """Append what there is to read; return True at the end of the pipe."""
    try:
        while chunk := os.read(control, 65536):
            received += chunk
    except BlockingIOError:
        return False
    return True


def _kill(worker: int, leads_session: bool) -> None:
    """Kill the process if it still runs, and all of its group if it leads a session; wait until it has ended."""
    if os.getppid() == worker:
        os.kill(worker, signal.SIGKILL)
    if leads_session:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # no process left; macOS raises the latter
            os.killpg(worker, signal.SIGKILL)
    patience = time.monotonic() + 5
    while os.getppid() == worker and time.monotonic() < patience:
        time.sleep(0.01)


def tidy(worker: int, folders: Iterable[str]) -> None:
    """Put back files that core.files.atomic_paths of the process `worker` had begun to replace, and remove its
    temporary files."""
    folders, needed = list(folders), set[str]()
    for folder in folders:
        for journal in _files(folder, f"*.partial-{worker}-*.commit"):
            with contextlib.suppress(OSError, ValueError):
                needed.update(_put_back(json.loads(journal.read_text(encoding="ascii"))))
    for folder in folders:
        for path in _files(folder, f"*.partial-{worker}-*"):
            with contextlib.suppress(OSError):
                if str(path) not in needed:
                    path.unlink(missing_ok=True)


def _files(folder: str, pattern: str) -> list[Path]:
    try:
        return list(Path(folder).glob(pattern))
    except OSError:  # in a folder that is gone or not accessible there is nothing for us to remove
        return []


def _put_back(rows: Iterable[tuple[str, str, str | None]]) -> list[str]:
    """Restore targets. Each row: a temporary file, its target, and the target's backup, None if there was no target.
    If no temporary file is left, all targets were replaced and stay. Returns the backups that could not be put back."""
    rows, left = list(rows), list[str]()
    if not any(os.path.lexists(temporary) for temporary, _, _ in rows):
        return left
    for temporary, target, earlier in rows:
        try:
            if earlier is not None and Path(earlier).exists():
                Path(earlier).replace(target)
            elif earlier is None and not Path(temporary).exists():
                Path(target).unlink(missing_ok=True)
        except OSError:
            left.append(str(earlier))
    return left


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.fileno(), sys.argv[3])
