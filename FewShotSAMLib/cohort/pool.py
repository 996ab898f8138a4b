"""Background processes on this computer, each with one row at a time: as many as cores, memory and GPUs allow."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FewShotSAMLib.cohort.jobs import Interrupts, Listen, RowOutcome, RowTask, compute
from FewShotSAMLib.options import AUTO
from FewShotSAMLib.worker.client import WorkerClient, report_of
from FewShotSAMLib.worker.process import usable_cores
from FewShotSAMLib.worker.protocol import Event

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
_USABLE = 0.8
"""Share of the free memory that processes may use."""
_PER_FILE_BYTE = 12
"""Bytes of memory for each byte of the largest volume's file: compressed files expand, and the voxels are in memory in
several data types."""


@dataclass(frozen=True)
class Resources:
    """What a process is given: threads (0: as many as it wants), and a device ("": the one that the row names)."""

    threads: int = 1
    device: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment plus the number of threads of all computing libraries. Results depend on it, so it
        is the same however many processes there are."""
        return {**os.environ, **(dict.fromkeys(_THREADS, str(self.threads)) if self.threads else {})}


def divide_resources(
    machine: Mapping[str, Any], processes: int | None, threads: int, device: str, largest: int
) -> list[Resources]:
    """Return the resources of each process that should run.

    machine: the report of the job `inspect`. processes: as many as the user wants, None for as many as fit.
    largest: bytes of the largest volume's file.
    """
    cards = [each["name"] for each in machine["devices"] if each["name"].startswith("cuda")]
    if device.startswith(("cuda:", "mps")) or (device == AUTO and machine["best_device"] == "mps"):
        return [Resources(threads)] * (processes or 1)
    if cards and device in (AUTO, "cuda"):
        return [Resources(threads, cards[number % len(cards)]) for number in range(processes or len(cards))]
    return [Resources(threads)] * (processes or _fitting(machine, threads, largest))


def _fitting(machine: Mapping[str, Any], threads: int, largest: int) -> int:
    each = max(encoder["memory_bytes"] for encoder in machine["encoders"] if encoder["name"] == machine["encoder"])
    by_cores = max(1, usable_cores() // threads)
    free = machine["memory_free_bytes"]
    return by_cores if free is None else max(1, min(by_cores, int(free * _USABLE) // (each + _PER_FILE_BYTE * largest)))


class Pool:
    """A process for each share of the resources, started with its first row, and restarted after it died."""

    def __init__(
        self, chosen: Sequence[Resources], first: WorkerClient | None = None, python: str | Path = sys.executable
    ) -> None:
        """first: an existing process, with the first share; python: the interpreter of the others."""
        self.resources, rest = list(chosen), chosen[1 if first else 0 :]
        self.clients = [WorkerClient(python, environment=resources.environment) for resources in rest]
        self.clients[:0] = [first] if first else []

    @classmethod
    def fitting(
        cls,
        first: WorkerClient,
        processes: int | None,
        threads: int,
        device: str,
        encoder: str,
        sizes: Sequence[int],
        python: str | Path = sys.executable,
    ) -> Pool:
        """Return a pool as large as the computer allows for volumes with files of these sizes, one for each row. first:
        the first background process, which inspects the computer. Raises FewShotSAMError if it cannot."""
        event, _ = compute(first, "inspect", {}, lambda event: None, lambda: 0)
        machine = {**report_of(event), "encoder": encoder}
        return cls(divide_resources(machine, processes, threads, device, max(sizes))[: len(sizes)], first, python)

    def run(
        self, tasks: Iterator[RowTask], listen: Listen, interrupts: Interrupts, alone: bool = False
    ) -> Iterator[RowOutcome]:
        """See `Backend`."""
        lock = threading.Lock()
        messages = queue.SimpleQueue[RowOutcome | tuple[RowTask, Event] | BaseException | None]()

        def serve(resources: Resources, client: WorkerClient) -> None:
            try:
                while not interrupts():
                    with lock:
                        task = next(tasks, None)
                    if task is None:
                        break
                    messages.put(_row(client, resources, task, lambda *each: messages.put(each), interrupts))
            except BaseException as error:  # noqa: BLE001 - a thread must not fail silently
                messages.put(error)
            messages.put(None)

        chosen = list(zip(self.resources, self.clients, strict=True))[: 1 if alone else None]
        threads = [threading.Thread(target=serve, args=each, daemon=True) for each in chosen]
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            item = messages.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            elif isinstance(item, RowOutcome):
                yield item
            else:
                listen(*item)

    def close(self) -> None:
        """End all processes."""
        for client in self.clients:
            client.close()


def _row(
    client: WorkerClient, resources: Resources, task: RowTask, listen: Listen, interrupts: Interrupts
) -> RowOutcome:
    parameters = {**task.parameters, **({"device": resources.device} if resources.device else {})}
    event, seconds = compute(client, task.row.command, parameters, lambda event: listen(task, event), interrupts)
    return RowOutcome(task, event, seconds)
