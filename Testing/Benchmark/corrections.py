"""What a correction is worth: Dice after the first run, after one more painted slice with only the affected slices
predicted again, and after a whole run with the same slices.

    python Testing/Benchmark/corrections.py TASKS.toml [--only NAME ...] [--k 3]

The additional slice, painted from the truth, is the one that the first run suggests. All slices count except those that
are painted or declared empty in the end.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from FewShotSAMLib.benchmark.protocol import SEGMENT, choose_slices, paint, score
from FewShotSAMLib.benchmark.tasks import Task, read_image_of, read_tasks, read_truth
from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.confidence import next_slices
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.propagation import Segmented, propagate_volume
from FewShotSAMLib.engine.request import ComputeOptions, PropagateOptions


def main() -> None:
    """Print a row per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--only", nargs="+", default=())
    parser.add_argument("--k", type=int, default=3)
    options = parser.parse_args()
    print("| task | first run | correction | whole run | seconds: correction | whole |\n|" + "---|" * 6)
    data = options.tasks.parent
    rows = [_row(task, data, options.k) for task in read_tasks(options.tasks, data, options.only)]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    print(f"| **mean of {len(rows)}** | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


def _row(task: Task, data: Path, count: int) -> tuple[float, ...]:
    volume = read_image_of(task, data)
    truth = read_truth(task, data, volume.geometry)
    mask = truth.mask(truth.segments[0])
    before = choose_slices(mask, task.axis, count)
    context, results, seconds = JobContext(), [], []
    painting = before
    for correct, warm in ((False, False), (True, False), (False, True)):
        start, annotation = time.perf_counter(), paint(truth, task.axis, painting)
        model = results[0].model() if warm and results[0].model is not None else None
        given = PropagateOptions(
            axis=task.axis, painted_slices=painting.painted, empty_slices=painting.empty, correct=correct,
            compute=ComputeOptions(no_cache=True),
        )  # fmt: skip
        results.append(propagate_volume(volume, annotation.segmentation, given, context, StageTimer(), model))
        seconds.append(time.perf_counter() - start)
        if len(results) == 1:
            advised = next_slices(results[0].prediction.slices, painting.known, 1)
            painting = replace(painting, painted=tuple(sorted({*painting.painted, *advised})))
    assert results[1].corrected is not None
    found = [_dice(done, truth, volume, task, painting) for done in results]
    print(
        f"| {task.name} | " + " | ".join(f"{each:.3f}" for each in found) + f" | {seconds[1]:.1f} | {seconds[2]:.1f} |",
        flush=True,
    )
    return (*found, *seconds[1:])


def _dice(done: Segmented, truth: Segmentation, volume: Volume, task: Task, painting: object) -> float:
    result = done.segmentation.mask(next(s for s in done.segmentation.segments if s.name == SEGMENT.name))
    mask = truth.mask(truth.segments[0])
    return score(result, mask, task.axis, painting, volume.geometry.spacing_kji).dice  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
