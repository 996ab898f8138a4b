"""Times a propagation through the background process: cold, then warm with one more painted slice; and peak memory.

    python Testing/Benchmark/propagation.py                          a phantom of 112 slices of 101 x 122
    python Testing/Benchmark/propagation.py --shape 300 512 512      a large one
    python Testing/Benchmark/propagation.py --volume V --labels L --values 1 2 4

Three slices of each structure are painted from the truth, the first slice beyond each end is declared empty. A cache
folder of its own is used, so that the first run is cold.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core import (
    ct_phantom,
    dice,
    place_on,
    read_segmentation,
    read_volume,
    write_image,
    write_segmentation,
)
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_to_paint
from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.worker.client import WorkerClient

ORGANS = ("liver", "spleen", "left kidney")
AXIS = 0


def main() -> None:
    """Run both propagations and print a table."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume, truth, names = _material(options, folder)
        masks = [truth.mask(segment) for segment in truth.segments if segment.name in names]
        painted = sorted({index for mask in masks for index in slices_to_paint(mask, AXIS, 3)})
        empty = empty_neighbours(np.logical_or.reduce(masks), AXIS)
        common = {"volume": str(volume), "empty_slices": empty, "axis": AXIS, "encoder": options.encoder}
        common |= {"cache": str(folder / "cache"), "device": options.device, "output": str(folder / "out.seg.nrrd")}
        with WorkerClient() as client:
            write_segmentation(keep_slices(truth, AXIS, painted, names), folder / "first.seg.nrrd")
            first = {"annotation": str(folder / "first.seg.nrrd"), "save_model": str(folder / "m.fewshot")}
            cold = client.wait(client.request("propagate", {**common, **first}))
            scores = _scores(folder / "out.seg.nrrd", truth, names, {*painted, *empty})
            painted = sorted({*painted, *cold["next_slices"][:1]})
            write_segmentation(keep_slices(truth, AXIS, painted, names), folder / "second.seg.nrrd")
            second = {"annotation": str(folder / "second.seg.nrrd"), "warm_start": str(folder / "m.fewshot")}
            warm = client.wait(client.request("propagate", {**common, **second}))
    _print({"cold": cold, "warm, one more slice": warm}, scores)
    if options.json:
        Path(options.json).write_text(json.dumps({"cold": cold, "warm": warm, "dice": scores}, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(112, 101, 122), metavar=("K", "J", "I"))
    parser.add_argument("--volume")
    parser.add_argument("--labels")
    parser.add_argument("--values", type=int, nargs="+")
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
    return folder / "volume.nrrd", truth, list(ORGANS)


def _scores(path: Path, truth: Segmentation, names: list[str], known: set[int]) -> dict[str, float]:
    result = read_segmentation(path)
    unseen = [index for index in range(truth.geometry.shape[AXIS]) if index not in known]
    wanted = {segment.name: truth.mask(segment) for segment in truth.segments}
    return {s.name: dice(result.mask(s)[unseen], wanted[s.name][unseen]) for s in result.segments if s.name in names}


def _print(reports: dict[str, Any], scores: dict[str, float]) -> None:
    stages = ("read", "load", "encode", "augment", "priors", "fine-tune", "predict", "write", "total")
    print("| run | " + " | ".join(f"{stage} s" for stage in stages) + " | encoder calls | peak MB |")
    print("|" + "---|" * (len(stages) + 3))
    for name, report in reports.items():
        seconds = " | ".join(f"{report['seconds'].get(stage, 0):.1f}" for stage in stages)
        peak = (report["peak_memory_bytes"] or 0) / 1e6
        print(f"| {name} | {seconds} | {report['encoder']['slices_encoded']} | {peak:.0f} |")
    found = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    print(f"Dice on slices neither painted nor declared empty, cold run: {found}")


if __name__ == "__main__":
    main()
