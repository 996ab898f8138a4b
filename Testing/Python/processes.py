"""Helpers that check whether processes live and what they started, and wait for what they do."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return (
            not Path("/proc/self").exists()
            or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    """Return the ids of the processes that a process started; none if there is no /proc."""
    found = ""
    with contextlib.suppress(OSError):  # the process has ended meanwhile
        found = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(each) for each in found.split()]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
