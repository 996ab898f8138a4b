"""`benchmark`: measure methods against each other on labelled volumes."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from FewShotSAMLib.benchmark.across import make_plan_across
from FewShotSAMLib.benchmark.figure import draw_figures
from FewShotSAMLib.benchmark.forecast import long_training
from FewShotSAMLib.benchmark.methods import get_methods, missing_package
from FewShotSAMLib.benchmark.outcome import MethodSettings
from FewShotSAMLib.benchmark.plan import Plan, make_plan
from FewShotSAMLib.benchmark.results import latest, left_out_of, title_of, write_results
from FewShotSAMLib.benchmark.rows import Row, RowFile, is_done
from FewShotSAMLib.benchmark.runner import missing, run_plan
from FewShotSAMLib.benchmark.tasks import read_tasks
from FewShotSAMLib.cli.progress import ProgressDisplay
from FewShotSAMLib.cli.propagate import print_json, report_path, say, write_report
from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError, MemoryShortageError
from FewShotSAMLib.core.files import check_writable
from FewShotSAMLib.sam.registry import get_spec

EXIT_CODES = {error.kind: error.exit_code for error in (BadInputError, MemoryShortageError, CancelledError)}


def benchmark(options: argparse.Namespace) -> int:
    """`fewshotsam benchmark`: 0 if every row is there, else the exit code of what failed."""
    folder = Path(options.output)
    if options.figure_only:
        return _redraw(folder, options.quiet)
    if hint := missing_package("matplotlib"):
        raise BadInputError("The package matplotlib is not installed.", hint)
    plan = _plan(options, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"The folder {folder} cannot be created ({error.strerror}).", "Choose another.") from error
    rows = RowFile(folder)
    check_writable(rows.path)
    if (report_file := report_path(options)) is not None:
        check_writable(report_file)
    with rows.locked(), _stoppable(), ProgressDisplay(options.quiet) as display:
        for text in long_training(missing(plan, rows, options.recompute)):
            display.show({"type": "warning", "message": text})
        own = run_plan(plan, rows, options.jobs, _Reporter(options, display).show, options.recompute)
        results = _write(latest(rows.read(), own), folder, plan.left_out)
    write_report(results, options, indent=1)
    say("\n".join(_summary(results, folder)), options)
    return _exit_code(own)


class _Reporter:
    """Reports every row as it is finished: on the terminal, and as JSON if requested."""

    def __init__(self, options: argparse.Namespace, display: ProgressDisplay) -> None:
        self._json = options.json == "-"
        self._quiet = options.quiet
        self._display = display
        self._started = time.monotonic()
        self._computed = 0

    def show(self, row: Row, done: int, total: int) -> None:
        """Report a row; the callback of `run_plan`."""
        self._computed += 1
        pace = (time.monotonic() - self._started) / self._computed
        progress = {"type": "progress", "stage": "benchmark", "done": done, "total": total}
        progress["eta_s"] = round(pace * (total - done), 1)
        if self._json:
            for event in ({"type": "row", **row}, progress):
                print_json(event)
        source = f"{row['source']} to " if row.get("source") else ""
        what = f"{source}{row['task']}, k = {row['k']}, {title_of(row)}"
        if not is_done(row):
            log = f" Log: {row['log']}" if row.get("log") else ""
            self._display.show({"type": "warning", "message": f"{what} failed: {row['error']}{log}"})
        elif not self._quiet:
            self._display.say(f"{what}: Dice {row['dice']:.3f}, {row['seconds']:.1f} s")
        self._display.show(progress)


def _plan(options: argparse.Namespace, folder: Path) -> Plan:
    if not options.tasks:
        raise BadInputError("No tasks were given.", "Give a tasks file with --tasks FILE.")
    tasks_file = Path(options.tasks)
    data = Path(options.data) if options.data else tasks_file.parent
    methods = get_methods(options.methods)
    for method in methods:
        for package in method.packages:
            if hint := missing_package(package, method.extra):
                raise BadInputError(f"The method {method.name} needs a package that is missing.", hint)
    for encoder in options.encoders:
        get_spec(encoder)
    cache = None if options.no_cache else Path(options.cache or folder / "cache").absolute()
    settings = MethodSettings(None, options.seed, options.device or "auto", options.precision or "auto", cache)
    segmentations = folder.absolute() / "segmentations" if options.keep_segmentations else None
    tasks = read_tasks(tasks_file, data, options.only or ())
    if options.painted_here and not options.across:
        raise BadInputError("--painted-here adds painted slices to those of another volume.", "Give --across, too.")
    within = partial(make_plan, ends=not options.no_ends)
    make = partial(make_plan_across, painted_here=options.painted_here) if options.across else within
    plan = make(tasks, data.absolute(), methods, options.encoders, options.k, settings, segmentations)
    if not plan.jobs:
        raise BadInputError(f"There is nothing to measure: {'; '.join(plan.left_out)}.", "Choose other options.")
    return plan


def _redraw(folder: Path, quiet: bool) -> int:
    rows = RowFile(folder).read()
    if not rows:
        raise BadInputError(f"There are no rows of a benchmark in {folder}.", "Run the benchmark there first.")
    results = _write(latest(rows), folder, left_out_of(folder))
    if not quiet:
        print("\n".join(_summary(results, folder)))
    return 0


def _write(rows: Sequence[Row], folder: Path, left_out: Sequence[str]) -> dict[str, Any]:
    results = write_results(rows, folder, left_out)
    draw_figures(rows, results, folder)
    return results


def _summary(results: Mapping[str, Any], folder: Path) -> list[str]:
    width = max((len(each["title"]) for each in results["summary"]), default=0)
    lines = [
        f"{each['title']:<{width}}  k = {each['k']}: Dice {each['dice']:.3f}, HD95 {each['hd95_mm']:.1f} mm, "
        f"{each['seconds']:.1f} s, {each['tasks']} task{'' if each['tasks'] == 1 else 's'}"
        for each in results["summary"]
    ]
    lines += [
        f"{each['title']}  across volumes, {each['group']}, k = {each['k']}: Dice {each['dice']:.3f}, "
        f"{each['pairs']} pairs"
        for each in results["across"]
    ]
    lines += [f"Left out: {text}." for text in results["left_out"]]
    return [*lines, f"Written: {folder / 'results.md'}, and the files next to it"]


def _exit_code(rows: Sequence[Row]) -> int:
    """0 if no row failed, else the exit code that all failed rows share, or 1 if they differ."""
    failed = [row for row in rows if not is_done(row)]
    if not failed:
        return 0
    text = f"error: {len(failed)} of {len(rows)} rows failed, the first with: {failed[0]['error']}"
    print(f"{text} The others are done; run the same command again to retry these.", file=sys.stderr)
    codes = {EXIT_CODES.get(row["kind"], FewShotSAMError.exit_code) for row in failed}
    return codes.pop() if len(codes) == 1 else FewShotSAMError.exit_code


@contextmanager
def _stoppable() -> Iterator[None]:
    """Treat a termination signal like Ctrl-C: child processes end, too, and finished rows are kept."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as error:
        raise CancelledError("Cancelled.", "Finished rows are kept; the same command continues from there.") from error
    finally:
        signal.signal(signal.SIGTERM, before)
