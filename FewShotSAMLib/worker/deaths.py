"""Describes how a background process died, and adds its last output to its log.

The exit code alone says little in Slicer: its Python is started by CTKAppLauncher, which turns every crash and every
kill into exit code 1. So other evidence counts, too: the system's count of processes that it killed because memory ran
out, the watchdog's note, and what Python's faulthandler or C++ wrote to stderr.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import Hint, hint

RESTART_HINT = "Start again; the embeddings already made are kept."
MEMORY_HINT = "Close other programs or choose a smaller encoder. " + RESTART_HINT
MEMORY_RAN_OUT = "The background process ended because memory ran out."
KILLS_FILE = Path("/proc/vmstat")
_MEMORY_WORDS = re.compile(
    r"bad_alloc|MemoryError|out of memory|cannot allocate memory|memory allocation|failed to map segment", re.IGNORECASE
)
_CRASH = re.compile(r"Fatal Python error: (.+)")
"""How faulthandler reports a crash."""
_LAUNCHER_SAW_A_CRASH = "exit abnormally"
"""What ctkAppLauncher.cpp prints before it ends with exit code 1."""


def memory_kills() -> int:
    """How many processes the system has killed since boot because memory ran out; 0 if it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", KILLS_FILE.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def describe_death(
    returncode: int | None, last_lines: Sequence[str], log: str, memory_ran_out: bool = False
) -> tuple[str, Hint | str]:
    """(message, hint) for a process that ended unexpectedly; the last lines of its stderr are added to its log.

    `returncode` as in subprocess (negative: a signal), `log` the path of its log file, "" if it had none yet,
    `memory_ran_out` whether the system's count of kills or the watchdog's note says so.
    """
    _add_to_log(log, returncode, last_lines)
    crash = next(filter(None, map(_CRASH.search, last_lines)), None)
    if returncode and (memory_ran_out or any(_MEMORY_WORDS.search(line) for line in last_lines)):
        return MEMORY_RAN_OUT, MEMORY_HINT
    # A kill is the only crash that faulthandler does not report.
    killed_behind_launcher = crash is None and any(_LAUNCHER_SAW_A_CRASH in line for line in last_lines)
    if returncode == -getattr(signal, "SIGKILL", 9) or killed_behind_launcher:
        message = "The background process was killed (SIGKILL), as the system does when memory runs out."
        return message, MEMORY_HINT
    if returncode is not None and returncode < 0:
        return f"The background process crashed ({_signal_name(-returncode)}).", _with_log(RESTART_HINT, log)
    if not log:
        said = f": {last_lines[-1]}" if last_lines else "."
        message = f"The background process could not start (exit code {returncode}){said}"
        return message, hint("see-what-is-missing")
    if crash is not None:
        return f"The background process crashed ({crash[1]}).", _with_log(RESTART_HINT, log)
    return f"The background process ended unexpectedly (exit code {returncode}).", _with_log(RESTART_HINT, log)


def blamed_file(returncode: int | None, reading: str) -> BadInputError | None:
    """An error that names the file being read when the process crashed; None if none was, or it was killed."""
    if not reading or returncode is None or returncode >= 0 or returncode == -getattr(signal, "SIGKILL", 9):
        return None
    return BadInputError(
        f"Reading {reading} crashed the background process ({_signal_name(-returncode)}): the file is damaged, or of a "
        "kind that the library that reads it cannot handle.",
        "Open it in the program that wrote it and save it again, as .nrrd with 16 bits per voxel.",
    )


def _with_log(hint: str, log: str) -> str:
    return f"{hint} If it happens again, report it with its log file." if log else hint


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _add_to_log(log: str, returncode: int | None, last_lines: Sequence[str]) -> None:
    if not log:
        return
    text = "\n".join([f"The process ended with code {returncode}; its last output was:", *last_lines, ""])
    try:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return  # a log that cannot be written must not hide the message itself
