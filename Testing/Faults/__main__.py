"""`make faults`: kills, errors of the disk and mutated files in great numbers, with a line for each kind.

python -m Faults [KILLS [MUTATIONS]] with Testing and Testing/Python on the path; 1000 kills and 500 mutations of each
format where nothing is said. Run it as an unprivileged user. Each line says what was tried how often, and what
happened; the exit code is 1 where anything else did than may.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from core import mutations
from Faults import calls, disk, fuzz, kills, tree, work

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.jobs import propagate

ALLOWED = {"old", "new", "complete"} | fuzz.GOOD


def tell(what: str, outcomes: Iterable[str]) -> bool:
    """Print how often each outcome was; whether all of them may be."""
    started, found = time.monotonic(), Counter(outcomes)
    rows = ", ".join(f"{count} {name}" for name, count in found.most_common())
    sys.stdout.write(f"{what}: {sum(found.values())} tried: {rows} ({time.monotonic() - started:.0f} s)\n")
    sys.stdout.flush()
    return not set(found) - ALLOWED


def tell_each(what: str, outcomes: Iterable[tuple[str, str]]) -> bool:
    """The same for outcomes of several kinds: a line for all, and one for each kind."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)

    def noted() -> Iterable[str]:
        for kind, outcome in outcomes:
            kinds[kind][outcome] += 1
            yield outcome

    good = tell(what, noted())
    for kind, found in sorted(kinds.items()):
        sys.stdout.write(f"    {kind}: {', '.join(f'{count} {name}' for name, count in found.most_common())}\n")
    return good


def errors_of_the_disk(folder: Path) -> Iterable[str]:
    """A whole run, with each of Python's calls that touches its outputs failing in turn."""
    parameters, state, out = work.prepare(folder), {}, folder / "out"
    run = {**parameters, "steps": 0}
    propagate(run, JobContext(state=state))
    with disk.failing(out, None) as counted:
        propagate(run, JobContext(state=state))
    for number, call in enumerate(counted.calls):
        before, told = work.marks(out), ""
        try:
            with disk.failing(out, number):
                propagate(run, JobContext(state=state))
            outcome = f"{call}: passed over"
        except FewShotSAMError as error:
            told = error.message
            outcome = "complete" if "written and complete" in told else "refused"
            if error.exit_code != 2 or not any(name in told for name in work.OUTPUTS.values()):
                outcome = f"{call}: {error}"
        except Exception as error:  # noqa: BLE001 - what a user would see as a bug is what is looked for
            outcome = f"{call}: {type(error).__name__} {error}"
        for path in out.iterdir():
            if path.name not in before and str(path) in told.partition("Left behind: ")[2]:
                path.unlink()
        found = work.verdict(before, out)
        yield outcome if found == ("new" if outcome == "complete" else "old") else f"{call}: {outcome}, but {found}"


def at_system_calls(jobs: Iterable[work.Job], folder: Path) -> bool:
    """Each job killed, and failed, at each of its system calls in turn."""
    if not calls.is_there():
        sys.stdout.write("strace is not installed here: nothing tried at system calls.\n")
        return True
    inputs = tuple(str(path) for path in folder.iterdir() if path.is_file())
    good = []
    for job in jobs:
        good.append(tell_each(f"kills of {job.command} at each system call on its outputs", calls.killed(job)))
        every = (*calls.CHANGING, *calls.LOOKING)
        what = f"errors of {job.command}'s system calls, each on its inputs and outputs"
        good.append(tell_each(what, calls.failed(job, every, inputs)))
    return all(good)


def main(kill_count: int, mutation_count: int) -> int:
    """Try all; 1 where anything happened that may not."""
    good = []
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        places = {each: folder / each for each in ("kills", "disk", "own", "files")}
        for place in places.values():
            place.mkdir()
        good.append(tell("errors of the disk, each of Python's calls of a run", errors_of_the_disk(places["disk"])))
        jobs = work.jobs(places["kills"])
        tree.adopt_orphans()
        good.append(at_system_calls(jobs, places["kills"]))
        killed = ((stage, left) for stage, _, left in kills.in_each_stage(jobs, kill_count))
        good.append(tell_each("kills of worker, parent, both, and parent without a watchdog", killed))
        content = (places["disk"] / "out" / work.OUTPUTS["save_model"]).read_bytes()
        seeds = range(mutation_count)
        good.append(tell("mutated .fewshot", (fuzz.model(content, seed) for seed in seeds)))
        for what, one in fuzz.small_files(places["own"]).items():
            good.append(tell(f"mutated {what}", (fuzz.attempt(one, seed) for seed in seeds)))
        if mutation_count:
            good.append(mutations.main(mutation_count, places["files"], []))
    return 0 if all(good) else 1


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("Processes are forked, killed and traced as Linux does it.")
    numbers = [int(each) for each in sys.argv[1:3]]
    sys.exit(main(*(numbers + [1000, 500][len(numbers) :])))
