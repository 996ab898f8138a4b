"""Says in words how a background process died, and keeps its last words in its log."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError

RESTART_HINT = "Start again; the embeddings already made are kept."
MEMORY_HINT = "Close other programs or choose a smaller encoder. " + RESTART_HINT


def describe_death(returncode: int | None, last_lines: Sequence[str], log: str) -> tuple[str, str]:
    """(message, hint) for a process that ended unasked; what it last wrote to stderr is added to its log.

    `returncode` as in subprocess (negative: a signal), `log` the path of its log file, "" where it had none yet.
    """
    _add_to_log(log, returncode, last_lines)
    if returncode == -getattr(signal, "SIGKILL", 9):
        message = "The background process was killed (SIGKILL), as the system does when memory runs out."
        return message, MEMORY_HINT
    if returncode is not None and returncode < 0:
        return f"The background process crashed ({_signal_name(-returncode)}).", _with_log(RESTART_HINT, log)
    if not log:
        said = f": {last_lines[-1]}" if last_lines else "."
        message = f"The background process could not start (exit code {returncode}){said}"
        return message, "Run “fewshotsam doctor” to see what is missing."
    return f"The background process ended unexpectedly (exit code {returncode}).", _with_log(RESTART_HINT, log)


def blamed_file(returncode: int | None, reading: str) -> BadInputError | None:
    """The error that names the file which was being read when the process crashed; None where none was."""
    if not reading or returncode is None or returncode >= 0 or returncode == -getattr(signal, "SIGKILL", 9):
        return None
    return BadInputError(
        f"Reading {reading} crashed the background process ({_signal_name(-returncode)}): the file is damaged, or of a "
        "kind that the library behind it does not bear.",
        "Open it in the program that wrote it and save it anew, as .nrrd with 16 bits per voxel.",
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
    text = "\n".join([f"The process ended with code {returncode}; its last words were:", *last_lines, ""])
    try:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return  # a log that cannot be written must not hide the message itself
