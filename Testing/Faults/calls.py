"""Kills and errors of the disk at exact system calls of whole jobs, by strace: what libraries do as well."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from Faults.kills import after
from Faults.tree import Tree
from Faults.work import Job, marks

CHANGING = ("openat", "write", "writev", "pwrite64", "ftruncate", "fsync", "close", "chmod", "link", "rename", "unlink")
LOOKING = ("read", "pread64", "lseek", "newfstatat", "statx", "access", "readlink")
ERRORS = {"openat": "EACCES", "fsync": "EIO", "close": "EIO", "read": "EIO", "pread64": "EIO", "unlink": "EIO"}
"""What a call that fails says; "no space" where nothing stands here."""
NAMES = 40
"""Of temporary files that a job may make for each of its outputs."""


def is_there() -> bool:
    """Whether calls can be counted and disturbed here."""
    return shutil.which("strace") is not None


def counted(job: Job, wanted: tuple[str, ...], inputs: tuple[str, ...] = ()) -> Counter[str]:
    """How often a job makes each of the system calls on its outputs, and on files of its inputs."""
    log = job.out.parent / "calls.txt"
    tree = _traced(job, [f"trace={','.join(wanted)}"], inputs, log)
    tree.finish()
    assert tree.bury() and tree.answer == "result", tree.answer
    found: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        found.update(re.findall(r"^(\w+)\(", line))
    log.unlink()
    return found


def killed(job: Job, wanted: tuple[str, ...] = CHANGING) -> Iterator[tuple[str, str]]:
    """A job killed at each system call on its outputs in turn; (call, what that left)."""
    for call, count in counted(job, wanted).items():
        for number in range(1, count + 1):
            before = marks(job.out, job.outputs)
            tree = _traced(job, [f"trace={call}", f"inject={call}:signal=KILL:when={number}"])
            tree.finish()
            yield call, after(job, before, tree)


def failed(job: Job, wanted: tuple[str, ...], inputs: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """A job with an error of the disk at each system call on its outputs and inputs in turn; (call, what came of it).

    "refused" (exit code 2, naming a file, nothing changed), "complete" (exit code 2, all written, as the message says),
    "new" (the call was not needed); else what is wrong.
    """
    for call, count in counted(job, wanted, inputs).items():
        for number in range(1, count + 1):
            before = marks(job.out, job.outputs)
            inject = f"inject={call}:error={ERRORS.get(call, 'ENOSPC')}:when={number}"
            tree = _traced(job, [f"trace={call}", inject], inputs)
            tree.finish()
            yield call, _judged(job, before, tree, inputs)


def _judged(job: Job, before: dict[str, tuple[int, int] | None], tree: Tree, inputs: tuple[str, ...]) -> str:
    answer, tree.answer = tree.answer, ""
    told_left = answer.partition("Left behind: ")[2]
    for path in job.out.iterdir():
        if path.name not in before and str(path) in told_left:
            path.unlink()  # as the message asks
    found = after(job, before, tree)
    if answer == "result":
        return found if found == "new" else f"told a result, but {found}"
    if not answer.startswith("bad_input "):
        return f"told {answer}, {found}"
    if not any(name in answer for name in (*job.outputs, *(Path(each).name for each in inputs))):
        return f"named nothing: {answer}"
    wanted, outcome = ("new", "complete") if "written and complete" in answer else ("old", "refused")
    return outcome if found == wanted else f"told {answer}, but {found}"


def _traced(job: Job, expressions: list[str], inputs: tuple[str, ...] = (), log: Path = Path(os.devnull)) -> Tree:
    """The job under strace, which looks at calls on these files alone."""
    tree = Tree(job.command, job.parameters, job.state, waits=True)
    command = ["strace", "-q", "-p", str(tree.worker), "-o", str(log)]
    for expression in expressions:
        command += ["-e", expression]
    for path in [*_names(job, tree.worker), *inputs]:
        command += ["-P", path]
    if os.fork() == 0:  # not by subprocess: `Tree.bury` reaps it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.execvp(command[0], command)
    status = Path(f"/proc/{tree.worker}/status")
    end = time.monotonic() + 20
    while "TracerPid:\t0" in status.read_text() and time.monotonic() < end:
        time.sleep(0.002)
    tree.go()
    return tree


def _names(job: Job, worker: int) -> list[str]:
    """Every file that the job may touch below the folder of its outputs; see `tree._worker` for their numbers."""
    found = [str(job.out)]
    stems = [*job.outputs, *(f"{Path(each).stem}.commit" for each in job.outputs)]
    for name in dict.fromkeys(stems):
        suffix = ".seg.nrrd" if name.endswith(".seg.nrrd") else Path(name).suffix
        stem = name.removesuffix(suffix)
        found.append(str(job.out / name))
        found += [str(job.out / f"{stem}.partial-{worker}-{number:08x}{suffix}") for number in range(1, NAMES)]
    return found
