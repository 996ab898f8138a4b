"""`propagate`, `apply` and `demo`: run a job in the background process and say how it went."""

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
from FewShotSAMLib.options import OPTIONS, PATH
from FewShotSAMLib.worker.client import WorkerClient, error_of
from FewShotSAMLib.worker.protocol import Event, encode

PATHS = frozenset(each.name for each in OPTIONS if each.kind is PATH)
NAMES = frozenset(each.name for each in OPTIONS)


def propagate(options: argparse.Namespace) -> int:
    """`fewshotsam propagate`."""
    return _run("propagate", options)


def apply(options: argparse.Namespace) -> int:
    """`fewshotsam apply`."""
    return _run("apply", options)


def demo(options: argparse.Namespace) -> int:
    """`fewshotsam demo`: the same as propagate on a made-up volume whose truth is known."""
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


def _run(command: str, options: argparse.Namespace) -> int:
    report_file = None if options.json in (None, "-") else Path(options.json)
    if report_file is not None:
        check_writable(report_file)
        others = {Path(path).resolve(): name for name, path in job_parameters(options).items() if name in PATHS}
        if report_file.resolve() in others:
            other = others[report_file.resolve()].replace("_", " ")
            raise BadInputError(f"The report {report_file} would overwrite the {other}.", "Give it another name.")
    with ProgressDisplay(options.quiet) as display:

        def listen(event: Event) -> None:
            if options.json == "-":
                sys.stdout.write(encode(event).decode("ascii"))
                sys.stdout.flush()
            display.show(event)

        report = run_job(command, job_parameters(options), listen)
    if report_file is not None:
        with atomic_path(report_file) as partial:
            partial.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if not options.quiet:
        stream = sys.stderr if options.json == "-" else sys.stdout
        print("\n".join(summary_lines(report, display.warnings)), file=stream)
    return 0


def job_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The job's parameters: what was given on the command line, paths made absolute."""
    given = {name: value for name, value in vars(options).items() if value is not None and value is not False}
    return {
        name: str(Path(value).absolute()) if name in PATHS else value for name, value in given.items() if name in NAMES
    }


def run_job(command: str, parameters: Mapping[str, Any], listen: Callable[[Event], None]) -> dict[str, Any]:
    """Run one job in a background process of its own and return its report; `listen` gets all its events.

    Ctrl-C asks the job to stop, a second one kills it. Raises the FewShotSAMError that the job ended with.
    """
    with _interrupts() as interrupts, WorkerClient() as client:
        request = client.request(command, parameters)
        obeyed = 0
        while True:
            for event in client.poll(timeout_s=0.2):
                if event.get("id") != request:
                    continue
                listen(event)
                if event["type"] == "result":
                    return dict(event["report"])
                if event["type"] == "error":
                    raise error_of(event)
            if len(interrupts) > obeyed:
                obeyed = len(interrupts)
                client.cancel(request, *([] if obeyed == 1 else [0.0]))


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collects Ctrl-C and termination signals in a list instead of letting them strike anywhere."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
