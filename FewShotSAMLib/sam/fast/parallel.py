"""Runs independent pieces of work on the processor's cores, one thread each.

A pass of an encoder or a decoder is thousands of small operations. Spread over all cores one by one, each of them
ends with a barrier, and whenever anything else runs on the computer (3D Slicer, for one) every barrier waits for a core
to come back: measured passes took five times as long beside other busy processes. Here each operation stays on one core
and whole pieces of work are shared out, so that a busy core costs its share and no more. It also makes a piece's result
independent of the number of cores.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from threading import Lock
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")
Work = Callable[[Callable[..., None], Iterable[tuple[Any, ...]]], None]
"""run(work, arguments): call work(*arguments) for each; returns when all are done, raises what one of them raised."""
_CHECK_SECONDS = 0.2


class Once(Generic[T]):
    """What is computed once, by whichever thread comes first."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute: Callable[[], T] | None = compute
        self._found, self._lock = list[T](), Lock()

    def begin(self) -> None:
        """Compute it, unless another thread is at it."""
        if self._lock.acquire(blocking=False):
            try:
                self._ensure()
            finally:
                self._lock.release()

    def __call__(self) -> T:
        """It, as soon as it is there."""
        with self._lock:
            self._ensure()
        return self._found[0]

    def _ensure(self) -> None:
        if self._compute is not None:
            self._found.append(self._compute())
            self._compute = None  # it may hold whoever holds this


def run_in_turn(work: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Call after call, on the calling thread: what a GPU wants, where calls return before the work is done."""
    for each in arguments:
        work(*each)


@contextmanager
def one_thread_each(check: Callable[[], None] | None = None, most: int = sys.maxsize) -> Iterator[Work]:
    """A `Work` over as many threads as torch is set to use; meanwhile torch itself uses one thread per operation.

    most: threads. `check` is called a few times per second while work is under way; what it raises ends the run.
    torch's thread count is a setting of the process: nothing else should compute with torch in the meantime.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(threads, most), thread_name_prefix="piece")
    torch.set_num_threads(1)  # threads started from now on take it over

    def run(work: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
        futures = [pool.submit(copy_context().run, _without_gradients, work, each) for each in arguments]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, _CHECK_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if check is not None:
                check()

    try:
        yield run
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


def _without_gradients(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    with torch.inference_mode():  # a setting of each thread
        work(*arguments)
