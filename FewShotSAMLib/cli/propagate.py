"""`propagate`, `demo`, and what `apply` shares with them: running a job in the background and reporting on it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from FewShotSAMLib.cli.progress import ProgressDisplay
from FewShotSAMLib.cli.summary import summary_lines
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path, check_writable
from FewShotSAMLib.options import OPTIONS, PATH, PATHS, option
from FewShotSAMLib.worker.client import WorkerClient, follow, report_of
from FewShotSAMLib.worker.protocol import Event, encode

PATH_NAMES = frozenset(each.name for each in OPTIONS if each.kind in (PATH, PATHS))
NAMES = frozenset(each.name for each in OPTIONS)


def propagate(options: argparse.Namespace) -> int:
    """`fewshotsam propagate`."""
    return run_and_tell("propagate", options)


def demo(options: argparse.Namespace) -> int:
    """`fewshotsam demo`: propagate on a synthetic volume whose ground truth is known."""
    from FewShotSAMLib.demo import run_demo

    def run(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        with ProgressDisplay(options.quiet) as display:
            return run_job("propagate", parameters, display.show)

    result = run_demo(Path(options.output), run)
    if not options.quiet:
        print(f"Painted: {len(result.painted)} slices, three for each organ; every organ is complete on each of them.")
        print("Dice on the slices that were neither painted nor declared empty:")
        for organ, score in result.dice.items():
            print(f"  {organ:<14} {score:.3f}")
        print(f"Segmentation: {result.segmentation}\nPicture:      {result.picture}")
    return 0


def run_and_tell(command: str, options: argparse.Namespace) -> int:
    """Run the job that the options describe, and report how it went."""
    parameters = job_parameters(options)
    check_report(options, _files_of(parameters))
    if (report_file := report_path(options)) is not None:
        parameters["report"] = str(report_file.absolute())
    with ProgressDisplay(options.quiet) as display:
        report = run_job(command, parameters, event_listener(options, display))
    say("\n".join(summary_lines(report, display.warnings)), options)
    return 0


def say(text: str, options: argparse.Namespace) -> None:
    """Print a text unless the command is to be quiet; on stderr if JSON goes to stdout."""
    if not options.quiet:
        print(text, file=sys.stderr if options.json == "-" else sys.stdout)


def print_json(event: Event) -> None:
    """Write an event to stdout, one JSON object a line."""
    sys.stdout.write(encode(event).decode("ascii"))
    sys.stdout.flush()


def report_path(options: argparse.Namespace) -> Path | None:
    """The file to write the report to, None if there is none."""
    return None if options.json in (None, "-") else Path(options.json)


def check_report(options: argparse.Namespace, taken: Mapping[Path, str]) -> None:
    """Raise BadInputError if the requested report cannot be written or would overwrite one of the `taken` files."""
    if (report := report_path(options)) is None:
        return
    check_writable(report)
    others = {path.resolve(): name for path, name in taken.items()}
    if report.resolve() in others:
        other = others[report.resolve()].replace("_", " ")
        raise BadInputError(f"The report {report} would overwrite the {other}.", "Give it another name.")
    if report.suffix.lower() != option("report").suffix:
        raise BadInputError(f"The report {report} is not a .json file.", "Choose a name that ends in .json.")


def write_report(report: Any, options: argparse.Namespace, indent: int = 2) -> None:
    """Write a report as JSON, atomically, if one is requested."""
    if (path := report_path(options)) is not None:
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(report, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def event_listener(options: argparse.Namespace, display: ProgressDisplay) -> Callable[[Event], None]:
    """A callback that shows events, and writes them to stdout if requested."""

    def listen(event: Event) -> None:
        if options.json == "-":
            print_json(event)
        display.show(event)

    return listen


def job_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The job's parameters: what was given on the command line, paths made absolute."""
    known = {name: value for name, value in vars(options).items() if name in NAMES}
    given = {name: value for name, value in known.items() if value is not None and value is not False}
    return {name: _absolute(name, value) if name in PATH_NAMES else value for name, value in given.items()}


def _absolute(name: str, given: str | list[str]) -> str | list[str]:
    """Make a path or paths absolute; a list of a single volume becomes that path."""
    if isinstance(given, str):
        return str(Path(given).absolute())
    paths = [str(Path(each).absolute()) for each in given]
    return paths if len(paths) > 1 or option(name).kind is PATHS else paths[0]


def _files_of(parameters: Mapping[str, Any]) -> dict[Path, str]:
    """The files of a job, each with the name of its parameter."""
    named = {name: value for name, value in parameters.items() if name in PATH_NAMES}
    every = {name: value if isinstance(value, list) else [value] for name, value in named.items()}
    return {Path(path): name for name, paths in every.items() for path in paths}


def run_job(command: str, parameters: Mapping[str, Any], listen: Callable[[Event], None]) -> dict[str, Any]:
    """Run one job in a background process of its own and return its report; `listen` gets all its events.

    Ctrl-C asks the job to stop, a second one kills it. Raises the FewShotSAMError that the job ended with.
    """
    with interrupts() as received, WorkerClient() as client:
        event = follow(client, client.request(command, parameters), listen, lambda: len(received))
    return report_of(event)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and termination signals in a list instead of letting them interrupt the code anywhere."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
