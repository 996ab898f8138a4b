"""Rows on a Ray cluster: actors that each keep a background process, with encoder and model, warm.

Ray decides where actors live, which nodes are alive and how rows get there. A row whose node died is given to another
actor. Ray's own retries are not used: they are used up within a second, before Ray has noticed that a node is down.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from FewShotSAMLib.cohort.jobs import Interrupts, Listen, RowOutcome, RowTask, compute
from FewShotSAMLib.cohort.pool import Resources
from FewShotSAMLib.core.errors import BadInputError, one_line_reason
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.worker.client import WORKER_ARGUMENTS, WorkerClient, WorkerDiedError
from FewShotSAMLib.worker.protocol import Event, error_event

MEMORY_BYTES = 2_000_000_000
"""Memory that Ray reserves for each actor."""
ATTEMPTS = 3
"""How often a row is started, at most, if its node or actor dies."""
_LOOK_S = 0.5
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the cluster
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


class Actor:
    """Lives on a node and has its own background process. Results are plain dictionaries."""

    def __init__(self, resources: Resources, arguments: Sequence[str]) -> None:
        self._client = WorkerClient(environment=resources.environment, arguments=arguments)

    def compute(self, command: str, parameters: Mapping[str, Any]) -> tuple[Event, float]:
        """Run a job; return its last event and its seconds. The background process's death is an event like others."""
        return compute(self._client, command, parameters, lambda event: None, lambda: 0)


class RayPool:
    """Actors on all nodes: one for each GPU, or, on nodes without a GPU, one for each `threads` cores.

    address: "auto" for the cluster that this computer belongs to, "local" for one that is started here, or any address
    that `ray.init` takes. processes: how many actors at most; None for as many as fit, also on nodes that join later.
    Raises BadInputError if Ray is not installed or there is no such cluster.
    """

    def __init__(self, address: str, processes: int | None, threads: int, arguments: Sequence[str] = ()) -> None:
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        try:
            import ray
        except ModuleNotFoundError as error:
            raise BadInputError(
                "The package ray is not installed.", hint("install-packages", extra="cohort")
            ) from error
        self._ray, self._processes, self._threads = ray, processes, threads
        self._arguments = list(arguments or WORKER_ARGUMENTS)
        self._actors: list[tuple[Any, int]] = []
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadInputError(
                f"There is no Ray cluster at “{address}” ({one_line_reason(error, 200)}).",
                "Start one with “ray start --head”, or omit --ray.",
            ) from error

    def places(self) -> list[int]:
        """Return the actors for which living nodes have room, each as its number of GPUs: 1, or 0 for an actor that
        uses cores alone."""
        found: list[int] = []
        for node in (each for each in self._ray.nodes() if each["Alive"]):
            has = node["Resources"]
            if cards := int(has.get("GPU", 0)):
                found += [1] * cards
            else:
                found += [0] * int(min(has.get("CPU", 0) // self._threads, has.get("memory", 0) // MEMORY_BYTES))
        return found[: self._processes] or [0]

    def run(
        self, tasks: Iterator[RowTask], listen: Listen, interrupts: Interrupts, alone: bool = False
    ) -> Iterator[RowOutcome]:
        """See `Backend`. `listen` is not called: events of rows in progress stay on their nodes."""
        ray, busy, lost = self._ray, dict[Any, tuple[Any, RowTask]](), deque[RowTask]()
        idle, deaths = [actor for actor, _ in self._actors], Counter[int]()
        left = True
        while left or busy or lost:
            while (left or lost) and not interrupts() and (actor := self._free(idle, busy, alone)) is not None:
                task = lost.popleft() if lost else next(tasks, None)
                if task is None:
                    left = False
                    idle.append(actor)
                else:
                    busy[actor.compute.remote(task.row.command, dict(task.parameters))] = (actor, task)
            if interrupts():
                self.close_actors()
                return
            if not left and not lost:
                self._release(idle)
            ready, _ = ray.wait(list(busy), timeout=_LOOK_S) if busy else ([], [])
            for reference in ready:
                actor, task = busy.pop(reference)
                try:
                    event, seconds = ray.get(reference)
                except ray.exceptions.RayActorError as error:
                    self._release([actor])
                    deaths[task.number] += 1
                    if deaths[task.number] < ATTEMPTS:
                        lost.append(task)
                        continue
                    event, seconds = _given_up(error), 0.0
                else:
                    idle.append(actor)
                yield RowOutcome(task, event, seconds)

    def close_actors(self) -> None:
        """End all actors, and with them their background processes."""
        self._release([actor for actor, _ in self._actors])

    def close(self) -> None:
        """End all actors and leave the cluster."""
        self.close_actors()
        self._ray.shutdown()

    def _free(self, idle: list[Any], busy: Mapping[Any, Any], alone: bool) -> Any:
        """Return an idle actor, or a new one if there is room; None if all are busy."""
        if alone and busy:
            return None
        if idle:
            return idle.pop()
        wanted = self.places()
        for cards in set(wanted):
            if sum(own == cards for _, own in self._actors) < wanted.count(cards):
                actor = (
                    self._ray.remote(Actor)
                    .options(num_cpus=self._threads, num_gpus=cards, memory=MEMORY_BYTES)
                    .remote(Resources(self._threads), self._arguments)
                )
                self._actors.append((actor, cards))
                return actor
        return None

    def _release(self, idle: list[Any]) -> None:
        """End actors: the replacement of a lost one may be waiting for their resources."""
        for actor in idle:
            self._ray.kill(actor)
            self._actors = [each for each in self._actors if each[0] is not actor]
        idle.clear()


def _given_up(error: Exception) -> Event:
    message = f"The node or the actor of this row died {ATTEMPTS} times ({type(error).__name__})."
    return error_event(None, WorkerDiedError.kind, message, "Check Ray's logs and the nodes' memory.")
