"""Times a propagation through the background process: the first answer, cold, and corrections, each after one more
painted slice; and Slicer's own Grow from seeds on the same volume right afterwards.

    python Testing/Benchmark/propagation.py                          a phantom of 112 slices of 101 x 122
    python Testing/Benchmark/propagation.py --shape 300 512 512      a large one
    python Testing/Benchmark/propagation.py --shape 100 512 512 --names liver
    python Testing/Benchmark/propagation.py --volume V --labels L --values 1 2 4

Three slices of each structure are painted from the truth, and the first slice beyond each end is declared empty; then,
one by one, the slice that the previous run suggests, which lies in the widest gap. The cache folder is new, so that the
first run is cold. As in the panel, the result is requested as one array. With --steps N the networks learn, too
(default: 0).
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.benchmark.classical import grow_from_seeds
from FewShotSAMLib.benchmark.outcome import MethodSettings
from FewShotSAMLib.core.annotation import annotate
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_to_paint
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import Segment, Segmentation, place_on, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import read_volume
from FewShotSAMLib.worker.client import WorkerClient

ORGANS = ("liver", "spleen", "left kidney")
AXIS = 0


def main() -> None:
    """Run everything and print a table."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, truth, names = _material(options, folder)
        masks = [truth.mask(segment) for segment in truth.segments if segment.name in names]
        painted = sorted({index for mask in masks for index in slices_to_paint(mask, AXIS, 3)})
        empty = empty_neighbours(np.logical_or.reduce(masks), AXIS)
        common = {"volume": str(path), "empty_slices": empty, "axis": AXIS, "encoder": options.encoder, "correct": True}
        common |= {"cache": str(folder / "cache"), "device": options.device}
        common |= {"annotation": str(folder / "painted.seg.nrrd"), "steps": options.steps}
        reports, classes = {}, []
        with WorkerClient() as client:
            for run in ("first answer", *(f"correction {number}" for number in range(1, options.corrections + 1))):
                if reports:
                    painted = sorted({*painted, *list(reports.values())[-1]["next_slices"][:1]})
                drawn = keep_slices(truth, AXIS, painted, names)
                write_segmentation(drawn, folder / "painted.seg.nrrd")
                result = {"classes": str(folder / "classes.npy"), "painted_slices": painted}
                reports[run] = client.wait(client.request("propagate", {**common, **result}))
                classes.append(np.load(folder / "classes.npy"))
                if run == "first answer":
                    scores = _scores(classes[0], truth, drawn.segments, {*painted, *empty})
        grown = None if options.without_grow else _grow(path, truth, names, painted, empty)
    changed = [np.flatnonzero((old != new).any((1, 2))).tolist() for old, new in pairwise(classes)]
    _print(reports, scores, grown, changed)
    if options.json:
        Path(options.json).write_text(json.dumps({**reports, "dice": scores, "grow_from_seeds": grown}, indent=1))


def _grow(path: Path, truth: Segmentation, names: list[str], painted: list[int], empty: list[int]) -> float | None:
    """Return the seconds that Grow from seeds takes for the first structure; None without slicer-core."""
    if importlib.util.find_spec("slicer") is None:
        return None
    volume = read_volume(path)
    annotation, _ = annotate(keep_slices(truth, AXIS, painted, names[:1]), AXIS, empty)
    start = time.perf_counter()
    grow_from_seeds(volume, annotation, MethodSettings())
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(112, 101, 122), metavar=("K", "J", "I"))
    parser.add_argument("--volume")
    parser.add_argument("--labels")
    parser.add_argument("--values", type=int, nargs="+")
    parser.add_argument("--names", nargs="+", default=ORGANS, help="names of the phantom's structures")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--corrections", type=int, default=3)
    parser.add_argument("--without-grow", action="store_true", help="Grow from seeds takes minutes on a large volume")
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json")
    return parser.parse_args()


def _material(options: argparse.Namespace, folder: Path) -> tuple[Path, Segmentation, list[str]]:
    if options.volume:
        volume = read_volume(options.volume)
        truth, _ = place_on(read_segmentation(options.labels), volume.geometry)
        return Path(options.volume), truth, [s.name for s in truth.segments if s.label_value in options.values]
    volume, truth = ct_phantom(tuple(options.shape))
    write_image(volume.voxels, volume.geometry, folder / "volume.nrrd")
    return folder / "volume.nrrd", truth, list(options.names)


def _scores(classes: np.ndarray, truth: Segmentation, segments: Sequence[Segment], known: set[int]) -> dict[str, float]:
    unseen = [index for index in range(truth.geometry.shape[AXIS]) if index not in known]
    wanted = {segment.name: truth.mask(segment)[unseen] for segment in truth.segments}
    found = enumerate(segments, start=1)
    return {segment.name: dice(classes[unseen] == label, wanted[segment.name]) for label, segment in found}


def _print(
    reports: dict[str, Any], scores: dict[str, float], grown: float | None, changed: Sequence[Sequence[int]]
) -> None:
    stages = ("read", "load", "encode", "predict", "learn", "write", "total")
    print("| run | slices | " + " | ".join(f"{stage}, s" for stage in stages) + " | encoder calls | peak memory, MB |")
    print("|" + "---|" * (len(stages) + 4))
    for name, report in reports.items():
        again = report["asked"] if report["corrected"] is None else report["corrected"]
        seconds = " | ".join(f"{report['seconds'].get(stage, 0):.1f}" for stage in stages)
        peak = (report["peak_memory_bytes"] or 0) / 1e6
        print(f"| {name} | {len(again)} | {seconds} | {report['encoder']['slices_encoded']} | {peak:.0f} |")
    first, *corrections = (report["seconds"]["total"] for report in reports.values())
    for seconds, indices in zip(corrections, changed, strict=True):
        span = f"{len(indices)} of slices {indices[0]} to {indices[-1]}" if indices else "none"
        print(f"This correction takes 1/{first / seconds:.1f} of the first answer; slices that changed: {span}")
    if grown is not None:
        ratio = f"{first / grown:.2f} times that, corrections {max(corrections, default=0) / grown:.2f} times at most"
        print(f"Grow from seeds, one structure: {grown:.1f} s; the first answer takes {ratio}")
    found = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    print(f"Dice on slices neither painted nor declared empty, first answer: {found}")


if __name__ == "__main__":
    main()
