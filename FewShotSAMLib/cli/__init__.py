"""The command line: `fewshotsam COMMAND ...`.

Exit codes: 0 done, 2 bad input, 3 out of memory, 4 cancelled, 1 a bug. Errors are one line on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from FewShotSAMLib.cli.parser import build_parser
from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.worker.failures import BUG_HINT, as_known_error
from FewShotSAMLib.worker.logs import write_traceback


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that a terminal cannot show must not stop a command
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    try:
        with _interruptible():
            _check_not_empty(options)
            return _command(options.command)(options)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CancelledError.exit_code
    except KeyboardInterrupt:
        return report_error(CancelledError("Cancelled."))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the user gets one line and an exit code
        return report_error(error)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C into an exception, so that commands can clean up; at other times `start` lets it end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _check_not_empty(options: argparse.Namespace) -> None:
    """Raise BadInputError for an empty argument, as from an unset shell variable: it would mean the current folder."""
    for name, given in vars(options).items():
        if "" in (given if isinstance(given, list) else [given]):
            raise BadInputError(f"The argument {name} is empty.", "Check the variable that it came from.")


def _command(place: str) -> Callable[[argparse.Namespace], int]:
    """Import a command's function. Each is in a module of its own, as the commands differ much in what they import."""
    module, _, function = place.partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return command


def report_error(error: BaseException) -> int:
    """Print the one line that says what is wrong and what to do; returns the exit code."""
    known = as_known_error(error)
    if known is None:
        text, exit_code, log = f"{type(error).__name__}: {error} {BUG_HINT}", 1, str(write_traceback(error) or "")
    else:
        text, exit_code, log = str(known), known.exit_code, getattr(known, "log", "")
    line = " ".join(f"error: {text} {f'Log: {log}' if log else ''}".split())
    print(line, file=sys.stderr)
    return exit_code
