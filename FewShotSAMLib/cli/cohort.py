"""`cohort`: many volumes, on this computer or on a Ray cluster; results that exist are not computed again."""

from __future__ import annotations

import argparse
from pathlib import Path

from FewShotSAMLib.cli.progress import RowsDisplay
from FewShotSAMLib.cli.propagate import check_report, interrupts, job_parameters, print_json, say, write_report
from FewShotSAMLib.cohort.find import read_plan
from FewShotSAMLib.cohort.jobs import Backend, RowOutcome, check_model
from FewShotSAMLib.cohort.plan import PlanDefaults, check_rows
from FewShotSAMLib.cohort.pool import Pool, Resources
from FewShotSAMLib.cohort.ray_pool import RayPool
from FewShotSAMLib.cohort.running import Cohort
from FewShotSAMLib.cohort.state import CohortPaths
from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.lock import exclusive_lock
from FewShotSAMLib.options import AUTO, AUTOMATIC_ENCODER, COHORT, JOBS, option, options_of
from FewShotSAMLib.worker.client import WorkerClient

_OF_ROWS = frozenset(each.name for each in options_of(COHORT) if set(each.commands) & set(JOBS)) - {"model", "models"}
"""Options that are passed on to the rows' jobs."""


def cohort(options: argparse.Namespace) -> int:
    """`fewshotsam cohort`. The exit code is 0, or that of the first row of the plan that failed."""
    paths = CohortPaths(Path(options.output_folder).absolute())
    defaults = PlanDefaults(
        None if options.model is None else Path(options.model).absolute(),
        options.format or str(option("format").default),
        options.pattern or "",
        options.annotation_pattern or "",
        options.dicom_names,
        tuple(Path(each).absolute() for each in options.models or ()),
    )
    rows = read_plan(Path(options.plan).absolute(), defaults, paths.folder)
    given = {name: value for name, value in job_parameters(options).items() if name in _OF_ROWS}
    check_rows(rows, paths.folder, [*given, *(["models"] if defaults.models else [])])
    taken = {path: name for row in rows for name, path in row.inputs.items()}
    paths.make()
    check_report(options, {**taken, Path(options.plan): "plan", paths.table: "table", paths.page: "page"})
    common = given if "cache" in given else {**given, "no_cache": True}  # it would not pay: each slice is encoded once
    message = f"Another “fewshotsam cohort” is working in {paths.folder}."
    with exclusive_lock(paths.rows / ".lock", message, "Wait for it, or give another folder."):
        prepared = Cohort.prepared(rows, paths, common, options.replace)
        return _run(prepared, options)


def _run(work: Cohort, options: argparse.Namespace) -> int:
    stopped: FewShotSAMError | None = None
    there = len(work.reports)
    with RowsDisplay(len(work.rows), there, options.quiet) as display:

        def done(ended: RowOutcome) -> None:
            display.row_done(ended.task.row.name, ended.error)
            if options.json == "-":
                print_json({**ended.event, "row": ended.task.row.name})

        if work.missing:
            with interrupts() as received:
                backend = _backend(work, options)
                try:
                    stopped = work.run(backend, done, lambda: len(received))
                finally:
                    backend.close()
    try:
        entries = work.write_tables()
    except BadInputError as error:
        raise (stopped or error) from None  # a full disk caused both
    write_report([vars(entry) for entry in entries], options)
    say(_summary(work, there), options)
    if stopped is not None:
        raise stopped
    failed = (work.failures[row.name] for row in work.rows if row.name in work.failures)
    return next((error.exit_code for error in failed), 0)


def _backend(work: Cohort, options: argparse.Namespace) -> Backend:
    """The backend that computes the rows. A damaged model that all rows share is reported once, before any work."""
    threads = options.cores_per_process or int(option("cores_per_process").default)
    resources = Resources(threads)
    first = WorkerClient(environment=resources.environment)
    try:
        shared = set.intersection(*({task.row.model, *task.row.models} for task in work.missing))
        for model in sorted(each for each in shared if each is not None and each.suffix.lower() == ".fewshot"):
            check_model(first, model)
        if options.ray is not None:
            first.close()
            return RayPool(options.ray, options.processes, threads)
        if options.processes is not None and options.device == "cpu":
            return Pool([resources] * min(options.processes, len(work.missing)), first)
        encoder = AUTOMATIC_ENCODER if options.encoder in (None, AUTO) else options.encoder
        return Pool.fitting(first, options.processes, threads, options.device or AUTO, encoder, work.sizes())
    except BaseException:
        first.close()
        raise


def _summary(work: Cohort, there: int) -> str:
    now, failed = len(work.reports) - there, len(work.failures)
    left = len(work.rows) - there - now - failed
    parts = [f"{now} of {len(work.rows)} volumes were segmented"]
    parts += [f"{there} {'was' if there == 1 else 'were'} already there"] if there else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{left} {'is' if left == 1 else 'are'} left"] if left else []
    return f"{', '.join(parts)}.\nTable: {work.paths.table}\nPage:  {work.paths.page}"
