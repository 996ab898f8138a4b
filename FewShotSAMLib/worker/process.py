"""Starts a child process in a group and an environment of its own, and ends it with all its descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
ALWAYS_DROPPED = {"PYTHONSTARTUP", "PYTHONINSPECT"}
HOST_VARIABLES = {"PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"}
# OpenMP's threads spin while they wait. With another program on the same cores, such as a viewer that draws, that made
# training steps ten times slower (measured on two cores); sleeping costs next to nothing.
SHARED_CORES = {"OMP_WAIT_POLICY": "PASSIVE"}
# Without it cuBLAS gives slightly different sums from run to run.
REPEATABLE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Windows opens a console for each console program that a program without one starts, unless told not to."""
HOST_PREFIXES = ("DYLD_", "LD_LIBRARY_", "LD_PRELOAD", "QT_")


def worker_environment(base: Mapping[str, str] | None = None, host_environment: bool = True) -> dict[str, str]:
    """The environment in which `python -m FewShotSAMLib.worker` finds this very package and speaks plain UTF-8.

    `base` None means this process's own. Without `host_environment`, the variables that an application such as Slicer
    set for its own Python and libraries are left out, as they would break another Python.
    """
    source = os.environ if base is None else base
    kept = {name: value for name, value in source.items() if name not in ALWAYS_DROPPED}
    if not host_environment:
        kept = {name: value for name, value in kept.items() if not _is_the_hosts(name)}
    search_path = [str(PACKAGE_PARENT), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(folder for folder in search_path if folder)
    return {**SHARED_CORES, **REPEATABLE, **kept, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def _is_the_hosts(name: str) -> bool:
    return name in HOST_VARIABLES or name.startswith(HOST_PREFIXES)


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_process(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a child that leads its own process group, with pipes for its three streams. Raises OSError."""
    pipe, flags = subprocess.PIPE, getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | NO_WINDOW  # of Windows, else 0
    return subprocess.Popen(
        list(command),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=dict(environment),
        start_new_session=os.name == "posix",
        creationflags=flags,
    )


def kill_group(process: subprocess.Popen[bytes], patience_s: float = 5.0) -> None:
    """Kill a child of `start_process` and everything it started; reap it. A child that has ended already is fine."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # no process left; macOS raises the latter
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        command, quiet = ["taskkill", "/T", "/F", "/PID", str(process.pid)], subprocess.DEVNULL
        subprocess.run(command, stdout=quiet, stderr=quiet, creationflags=NO_WINDOW, check=False)
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel and ends when that lets it
        process.wait(patience_s)
