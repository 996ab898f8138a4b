"""Runs the rows of a plan, each method in separate processes, and stores each row as soon as it is computed.

Separate processes: what one method loads does not count as another's memory, and a crash in compiled code, or a process
that the system kills for using too much memory, costs only one row.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import groupby
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from FewShotSAMLib.benchmark.measure import compute_row
from FewShotSAMLib.benchmark.plan import Plan, RowJob
from FewShotSAMLib.benchmark.rows import Row, RowFile, is_done
from FewShotSAMLib.worker.process import REPEATABLE, SHARED_CORES, usable_cores

IN_THIS_PROCESS = 0
GRACE_S = 5.0
_CRASH = "The process died (exit code {code}): out of memory, or a crash in compiled code. Run it again to retry."

Listener = Callable[[Row, int, int], None]
"""Called with each new row, the number of rows done, and the number of all rows."""


def run_plan(plan: Plan, rows: RowFile, processes: int, listen: Listener, recompute: bool = False) -> list[Row]:
    """Compute the rows that are not in the file yet, in `processes` parallel processes, and return all of the plan's.

    0 processes: in this one. Rows that failed are tried again; a failure does not stop the others.
    """
    todo = missing(plan, rows, recompute)
    keys, to_come = [job.key for job in plan.jobs], {job.key for job in todo}
    done = {row["key"]: row for row in rows.read() if row["key"] in set(keys) - to_come}
    for _, group in groupby(todo, key=lambda job: (job.method.name, job.settings.encoder)):
        with closing(_rows(list(group), processes)) as computed:  # closed at once, whatever `listen` raises
            for row in computed:
                kept = {name: value for name, value in row.items() if name != "log"}
                rows.append(kept)
                done[row["key"]] = kept
                listen(row, len(done), len(keys))
    return [done[key] for key in keys]


def missing(plan: Plan, rows: RowFile, recompute: bool = False) -> list[RowJob]:
    """Return the jobs whose rows are not in the file yet; all jobs if `recompute`."""
    found = set() if recompute else {row["key"] for row in rows.read() if is_done(row)}
    return [job for job in plan.jobs if job.key not in found]


def _rows(jobs: Sequence[RowJob], processes: int) -> Generator[Row, None, None]:
    if processes == IN_THIS_PROCESS:
        yield from map(compute_row, jobs)
    else:
        yield from _in_processes(jobs, processes)


def _in_processes(jobs: Sequence[RowJob], count: int) -> Generator[Row, None, None]:
    """Yield the rows in the order in which they are finished."""
    left = deque(jobs)
    workers: dict[Connection, _Worker] = {}
    try:
        while left or workers:
            while left and len(workers) < count:
                worker = _Worker(count)
                workers[worker.connection] = worker
                worker.give(left.popleft())
            for connection in wait(list(workers)):
                worker = workers[connection]  # type: ignore[index]
                yield worker.take()
                if left and worker.is_alive:
                    worker.give(left.popleft())
                else:
                    worker.end(GRACE_S)
                    del workers[worker.connection]
    finally:
        for worker in workers.values():
            worker.end()


class _Worker:
    """A child process that computes one row after the other."""

    def __init__(self, of: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.is_alive = True
        self._job: RowJob | None = None
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, of))
        self._process.start()
        theirs.close()

    def give(self, job: RowJob) -> None:
        """Start on a row."""
        self._job = job
        with suppress(OSError):  # the process died before it began: `take` reports it
            self.connection.send(job)

    def take(self) -> Row:
        """Return the finished row; a failed one if the process died."""
        assert self._job is not None
        try:
            row: Row = self.connection.recv()
        except (EOFError, OSError):
            self.is_alive = False
            self._process.join()
            error = _CRASH.format(code=self._process.exitcode)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            return {**self._job.describe(), "status": "failed", "kind": "crash", "error": error, "finished": now}
        return row

    def end(self, grace_s: float = 0.0) -> None:
        """Stop the process; kill it if it is still computing or needs longer than `grace_s` to finish."""
        self.connection.close()
        self._process.join(grace_s)
        self._process.kill()
        self._process.join()


def environment_of_child(of: int) -> dict[str, str]:
    """Return the variables to set in one of `of` processes before torch is imported, unless the user has set them:
    those of the background process, so that a row is what that would compute, and a share of the cores."""
    share = {"OMP_NUM_THREADS": str(max(1, usable_cores() // of))} if of > 1 else {}
    return {**SHARED_CORES, **REPEATABLE, **share}


def _serve(connection: Connection, of: int) -> None:
    """Compute incoming jobs until the parent closes the pipe or has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its children
    for name, value in environment_of_child(of).items():
        os.environ.setdefault(name, value)
    try:
        while True:
            connection.send(compute_row(connection.recv()))
    except (EOFError, OSError):
        return
