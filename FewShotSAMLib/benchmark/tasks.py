"""Tasks of a benchmark: a volume, a structure labelled on it, and the axis of the slices that a reader would paint.

A tasks file is TOML with one `[[task]]` each:

    name = "ct-liver"                 unique
    image = "ct/image.nii.gz"         path from the data folder; a folder is a DICOM series
    labels = "ct/labels.nii.gz"       path from the data folder; floats are rounded
    values = [1, 2]                   label values that are merged into the foreground
    axis = 0                          array axis of the slices: 0 = k, 1 = j, 2 = i

The entries `modality` and `structure` are text. `group` is for measurements across volumes: tasks with the same group
belong together, and without one those with the same structure and modality.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import read_image
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import place_on
from FewShotSAMLib.core.volume import Volume, read_volume

EXAMPLE = "Each [[task]] needs name, image, labels, values = [1] and axis = 0, 1 or 2."
SEGMENT = Segment("structure", "structure", (0.9, 0.3, 0.3), 1)
"""The segment of every task, always with this name."""


@dataclass(frozen=True)
class Task:
    """One structure of one volume. image, labels: paths relative to the data folder, as in the tasks file."""

    name: str
    image: str
    labels: str
    values: tuple[int, ...]
    axis: int
    modality: str = ""
    structure: str = ""
    group: str = ""

    @property
    def similarity_key(self) -> tuple[str, ...]:
        """Equal for tasks that show the same structure in the same way; empty if that is not known."""
        return (self.group,) if self.group else (self.structure, self.modality) if self.structure else ()


def read_tasks(path: Path, data: Path, only: Sequence[str] = ()) -> list[Task]:
    """Return the tasks of a file in its order, or those whose names are in `only`.

    Raises BadInputError for a file that is missing, not TOML or incomplete, a duplicate name, an unknown name in
    `only`, and an image or label file that does not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInputError(f"The tasks file {path} cannot be read ({error.strerror}).", "Check its path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"The tasks file {path} is not a TOML file ({error}).", EXAMPLE) from error
    entries = content.get("task")
    if not isinstance(entries, list) or not entries:
        raise BadInputError(f"The tasks file {path} contains no [[task]].", EXAMPLE)
    tasks = [_parse(entry, number, path) for number, entry in enumerate(entries, start=1)]
    names = [task.name for task in tasks]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise BadInputError(f"{path} has several tasks named {', '.join(double)}.", "Give each task a unique name.")
    if unknown := [name for name in only if name not in names]:
        raise BadInputError(f"There is no task {', '.join(unknown)}.", f"Choose one of: {', '.join(names)}.")
    chosen = [task for task in tasks if not only or task.name in only]
    for task in chosen:
        for name in (task.image, task.labels):
            if not (data / name).exists():
                message = f"Task {task.name}: {data / name} does not exist."
                raise BadInputError(message, "Name the data folder with --data.")
    return chosen


def read_truth(task: Task, data: Path, geometry: Geometry) -> Segmentation:
    """Return the finished segmentation of a task on its volume's grid; one segment.

    Raises BadInputError for labels on another grid, and if none of the task's values occurs.
    """
    stored = read_image(data / task.labels)
    if stored.voxels.ndim != 3:
        raise BadInputError(f"Task {task.name}: {task.labels} is not a label map.", "It needs one value per voxel.")
    mask = np.isin(np.rint(stored.voxels), task.values)
    if not mask.any():
        values = ", ".join(str(value) for value in task.values)
        message = f"Task {task.name}: {task.labels} contains no voxel of value {values}."
        raise BadInputError(message, "Correct “values” in the tasks file.")
    drawn = Segmentation(mask.astype(np.uint8)[np.newaxis], stored.geometry, (SEGMENT,))
    try:
        return place_on(drawn, geometry)[0]
    except BadInputError as error:
        raise BadInputError(f"Task {task.name}, {task.labels}: {error.message}", error.hint) from error


def read_image_of(task: Task, data: Path) -> Volume:
    """Return the volume of a task. Raises BadInputError if it cannot be read."""
    return read_volume(data / task.image)


def _parse(entry: Any, number: int, path: Path) -> Task:
    where = f"{path}, task {number}"
    if not isinstance(entry, Mapping):
        raise BadInputError(f"{where} is not a table.", EXAMPLE)
    for name in ("name", "image", "labels"):
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            raise BadInputError(f"{where}: {name} is missing or not a text.", EXAMPLE)
    values, axis = entry.get("values"), entry.get("axis")
    if not (isinstance(values, list) and values and all(_is_whole(value) and value > 0 for value in values)):
        raise BadInputError(f"{where} ({entry['name']}): values is not a list of label values.", EXAMPLE)
    if not _is_whole(axis) or axis not in (0, 1, 2):
        raise BadInputError(f"{where} ({entry['name']}): axis is {axis!r}.", EXAMPLE)
    texts = {name: str(entry.get(name, "")) for name in ("modality", "structure", "group")}
    return Task(entry["name"], entry["image"], entry["labels"], tuple(values), axis, **texts)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
