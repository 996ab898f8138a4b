"""What a model gains from growing with each patient: Dice on a third volume with the first one's model, and with that
of the second, which was propagated with the first one's model and holds both.

    python Testing/Benchmark/growing_model.py TASKS.toml --only NAME NAME NAME ... [--k 5] [--then 1]

The first volume is painted on `k` slices, with both ends declared empty; the second on `then` slices; the third on one
(not counted) or none. Nothing is trained. Every ordering of every three volumes is a row.
"""

import argparse
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from FewShotSAMLib.benchmark.protocol import Painting, choose_slices, paint, score
from FewShotSAMLib.benchmark.tasks import Task, read_image_of, read_tasks, read_truth
from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.earlier import Earlier
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.propagation import Segmented, apply_to_volume, propagate_volume
from FewShotSAMLib.engine.request import ApplyOptions, ComputeOptions, PropagateOptions

COMPUTE = ComputeOptions(no_cache=True)


def main() -> None:
    """Print a row per ordering."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--only", nargs="+", default=())
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--then", type=int, default=1)
    options = parser.parse_args()
    tasks = read_tasks(options.tasks, options.tasks.parent, options.only)
    print("| first, second, third | one volume | both | one volume, a slice painted | both, a slice painted |")
    print("|" + "---|" * 5)
    rows = [_row(three, options) for three in permutations(tasks, 3)]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    print(f"| **mean of {len(rows)}** | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


def _row(tasks: Sequence[Task], options: argparse.Namespace) -> tuple[float, ...]:
    volumes = [read_image_of(task, options.tasks.parent) for task in tasks]
    truths = [read_truth(task, options.tasks.parent, each.geometry) for task, each in zip(tasks, volumes, strict=True)]
    given = list(zip(tasks, volumes, truths, strict=True))
    one = _propagated(*given[0], options.k, ()).model()
    both = _propagated(*given[1], options.then, (one,)).model()
    found = [_dice(given[2], model) for model in (one, both)]
    found += [_dice(given[2], model, 1) for model in (one, both)]
    print(
        f"| {', '.join(task.name for task in tasks)} | " + " | ".join(f"{each:.3f}" for each in found) + " |",
        flush=True,
    )
    return tuple(found)


def _propagated(
    task: Task, volume: Volume, truth: Segmentation, count: int, earlier: Sequence[FewShotModel]
) -> Segmented:
    painting = choose_slices(truth.mask(truth.segments[0]), task.axis, count, ends=not earlier)
    given = PropagateOptions(
        axis=task.axis, painted_slices=painting.painted, empty_slices=painting.empty,
        steps=0, compute=COMPUTE,
    )  # fmt: skip
    models = [Earlier(str(number), each) for number, each in enumerate(earlier)]
    drawn = paint(truth, task.axis, painting).segmentation
    return propagate_volume(volume, drawn, given, JobContext(), StageTimer(), earlier=models)


def _dice(given: tuple[Task, Volume, Segmentation], model: FewShotModel, count: int = 0) -> float:
    task, volume, truth = given
    painting = Painting((), ())
    if count:
        done = _propagated(*given, count, (model,))
        painting = choose_slices(truth.mask(truth.segments[0]), task.axis, count, ends=False)
    else:
        done = apply_to_volume(model, volume, ApplyOptions(compute=COMPUTE), JobContext(), StageTimer())
    result, mask = (each.mask(each.segments[0]) for each in (done.segmentation, truth))
    return score(result, mask, task.axis, painting, volume.geometry.spacing_kji).dice


if __name__ == "__main__":
    main()
