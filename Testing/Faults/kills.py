"""Kills jobs in each of their stages, and looks at what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Mapping

from Faults.tree import END, Tree
from Faults.work import Job, marks, verdict
from processes import children_of

TARGETS = ("worker", "parent", "both", "parent, after its watchdog")
Course = list[tuple[str, float, float]]
"""The stages of a job as they follow each other, with begin and end in seconds."""


def course(job: Job) -> Course:
    """How a job goes that nobody disturbs. Raises AssertionError where it fails."""
    tree, begun = Tree(job.command, job.parameters, job.state), time.monotonic()
    names, times = ["begin"], [0.0]
    while stage := tree.next_stage():
        names.append(stage)
        times.append(time.monotonic() - begun)
    assert tree.bury() and tree.answer == "result", tree.answer
    times.append(time.monotonic() - begun)
    return list(zip(names, times, times[1:], strict=False))


def in_each_stage(jobs: list[Job], count: int, seed: int = 0, practice: int = 1) -> Iterator[tuple[str, str, str]]:
    """Kill that many jobs, as often in each stage of each job, at a random moment of it: the background process, its
    parent, both, or the parent when there is no watchdog any more. (job: stage, who was killed, what that left)."""
    rng = random.Random(seed)
    courses = {}
    for job in jobs:
        for _ in range(1 + practice):  # the first time, what is loaded takes longer
            _forget(job)
            courses[job.command] = (job, course(job))
    stages = sorted({(command, stage) for command, (_, each) in courses.items() for stage, *_ in each})
    for number in range(count):
        command, stage = stages[number % len(stages)]
        job, steps = courses[command]
        _forget(job)
        place = rng.choice([place for place, step in enumerate(steps) if step[0] == stage])
        target = TARGETS[number // len(stages) % len(TARGETS)]
        delay = rng.uniform(0, 1.1 * (steps[place][2] - steps[place][1]))
        left = _kill(job, place, delay, target)
        yield f"{command}: {'tidy' if stage == END else stage}", target, left


def _forget(job: Job) -> None:
    """Empty the cache of a propagation, so that it encodes."""
    if job.command == "propagate":
        shutil.rmtree(job.parameters["cache"], ignore_errors=True)


def _kill(job: Job, place: int, delay_s: float, target: str) -> str:
    """Kill one job some time after the stage with that place in its course began."""
    before = marks(job.out, job.outputs)
    tree = Tree(job.command, job.parameters, job.state)
    for _ in range(place):
        tree.next_stage()
    end = time.monotonic() + delay_s
    while (left := end - time.monotonic()) > 0:
        tree.next_stage(left)
        if tree.is_told_out:
            break
    if target == "parent, after its watchdog":
        _end(*children_of(tree.worker))
    _end(*{"worker": [tree.worker], "both": [tree.worker, tree.parent]}.get(target, [tree.parent]))
    tree.finish()
    return after(job, before, tree)


def _end(*processes: int) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it has ended by itself


def after(job: Job, before: Mapping[str, tuple[int, int] | None], tree: Tree) -> str:
    """What a job left, once its processes are gone: "old", "new", or what is wrong."""
    if not tree.bury():
        return "a process lives on"
    found = verdict(dict(before), job.out)
    if tree.answer == "result" and found != "new":
        return f"told a result, but {found}"
    if tree.answer not in ("", "result") and not tree.answer.startswith("worker_died"):
        return f"told {tree.answer}"
    return found
