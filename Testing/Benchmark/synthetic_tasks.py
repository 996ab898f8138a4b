"""Tasks for `fewshotsam benchmark` that are hard for the bundled model: scattered, branching and hollow structures.

    python Testing/Benchmark/synthetic_tasks.py FOLDER
    fewshotsam benchmark --tasks FOLDER/tasks.toml --methods few-shot,grow-from-seeds --k 3 --output results

The generator is that of the pretraining, with seeds that it never uses. The same arguments give the same volumes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from FewShotSAMLib.bundled.train.anatomy import BRANCHING, synthesise
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image

FIRST_SEED = 9_000_000_000
"""Beyond the seeds of the pretraining."""
KINDS = {"scattered": "parts", "branching": BRANCHING, "hollow": "ring", "mixed": None}
"""The generator's names for the structures; mixed: as the pretraining draws them."""
HARD = ("scattered", "branching", "hollow")
GREY = 1000
"""Largest grey value; the smallest is 0."""
TASK = """[[task]]
name = "{name}"
image = "{name}-image.nrrd"
labels = "{name}-labels.nrrd"
values = [1]
axis = 0
modality = "{like}"
structure = "{structure}"

"""


def make_tasks(folder: Path, count: int, structures: Sequence[str] = HARD) -> Path:
    """Write `count` volumes of each structure with their labels, and the tasks file; return the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for structure in structures:
        first = FIRST_SEED + 1000 * list(KINDS).index(structure)
        for number in range(count):
            dice = Dice(torch.Generator().manual_seed(first + number))
            volume, name = synthesise(dice, kind=KINDS[structure]), f"{structure}-{number + 1:02d}"
            size = (volume.image.shape[2], volume.image.shape[1], volume.image.shape[0])
            geometry = Geometry(size, (1.0, 1.0, volume.slice_step))
            image = (volume.image * GREY).round().numpy().astype(np.int16)
            write_image(image, geometry, folder / f"{name}-image.nrrd")
            write_image(volume.target.numpy().astype(np.uint8), geometry, folder / f"{name}-labels.nrrd")
            tasks.append(TASK.format(name=name, like=volume.like, structure=structure))
    (folder / "tasks.toml").write_text("".join(tasks))
    return folder / "tasks.toml"


def main() -> None:
    """Write the volumes and print the tasks file's path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10, help="volumes of each structure")
    parser.add_argument("--structures", nargs="+", choices=KINDS, default=HARD)
    options = parser.parse_args()
    print(make_tasks(options.folder, options.count, options.structures))


if __name__ == "__main__":
    main()
