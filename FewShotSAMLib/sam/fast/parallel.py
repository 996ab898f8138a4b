"""Runs independent pieces of work on the processor's cores, one thread each.

A pass of an encoder or a decoder consists of thousands of small operations. If each is spread over all cores, it ends
with a barrier, and whenever anything else runs on the computer (such as 3D Slicer), every barrier waits for the core
that is busy: measured passes took five times as long alongside other busy processes. Here each operation stays on one
core and whole pieces of work are distributed, so that a busy core costs only its share. It also makes a piece's result
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
"""run(work, arguments): call work(*arguments) for each; returns when all are done; raises what one of them raised."""
_CHECK_SECONDS = 0.2


class ComputedOnce(Generic[T]):
    """A value that is computed once, by whichever thread comes first."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute: Callable[[], T] | None = compute
        self._found, self._lock = list[T](), Lock()

    def begin(self) -> None:
        """Compute the value unless another thread is computing it."""
        if self._lock.acquire(blocking=False):
            try:
                self._ensure()
            finally:
                self._lock.release()

    def __call__(self) -> T:
        """The value, as soon as it is available."""
        with self._lock:
            self._ensure()
        return self._found[0]

    def _ensure(self) -> None:
        if self._compute is not None:
            self._found.append(self._compute())
            self._compute = None  # it may refer to the owner of this object


def run_in_turn(work: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """One call after the other, on the calling thread: suits a GPU, where calls return before the work is done."""
    for each in arguments:
        work(*each)


@contextmanager
def one_thread_each(check: Callable[[], None] | None = None, most: int = sys.maxsize) -> Iterator[Work]:
    """A `Work` using as many threads as torch is set to; meanwhile torch itself uses one thread per operation.

    most: maximum number of threads. `check` is called a few times per second while work is in progress; its exceptions
    end the run. torch's thread count is a process-wide setting: nothing else should compute with torch in the meantime.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(threads, most), thread_name_prefix="piece")
    torch.set_num_threads(1)  # inherited by threads started from now on

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
    with torch.inference_mode():  # a per-thread setting
        work(*arguments)
