"""A folder of labelled volumes that are quick to segment, and methods that need no packages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam.conftest import network as network

from FewShotSAMLib.benchmark import Contender, MethodSettings, Plan, Task, make_plan, read_tasks
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.volume import Volume

SHAPE = (24, 32, 36)
GEOMETRY = Geometry((36, 32, 24), (1.0, 1.5, 3.0), (5.0, -7.0, 11.0))
TASKS = """
[[task]]
name = "cylinder"
image = "image.nrrd"
labels = "labels.nrrd"
values = [1, 2]
axis = 0
modality = "CT"

[[task]]
name = "box"
image = "image.nrrd"
labels = "labels.nrrd"
values = [3]
axis = 1
"""


def label_map() -> np.ndarray:
    """A cylinder along axis 0 in two halves (1 and 2), slices 3 to 20, and a box (3), slices 4 to 12 of axis 1."""
    k, j, i = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.float32)
    disc = (j - 18) ** 2 + (i - 24) ** 2 <= 49
    labels[disc & (k >= 3) & (k <= 20)] = 1
    labels[disc & (k >= 12) & (k <= 20)] = 2
    labels[6:16, 4:13, 4:12] = 3
    return labels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folder with an image of two intensities, labels stored as floats that are not quite whole, and tasks.toml."""
    folder = tmp_path / "data"
    folder.mkdir()
    labels = label_map()
    noise = np.random.default_rng(0).normal(0, 6, SHAPE)
    write_image((np.where(labels > 0, 300, 40) + noise).astype(np.int16), GEOMETRY, folder / "image.nrrd")
    write_image(labels * np.float32(1.1), GEOMETRY, folder / "labels.nrrd")
    (folder / "tasks.toml").write_text(TASKS, encoding="utf-8")
    return folder


@pytest.fixture
def tasks(data: Path) -> list[Task]:
    """The two tasks of the folder."""
    return read_tasks(data / "tasks.toml", data)


def painted_only(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
    """The simplest method: returns nothing but what was painted."""
    return annotation.segmentation.mask(annotation.segmentation.segments[0])


PAINTED_ONLY = Contender("painted-only", "Painted only", painted_only)


@pytest.fixture
def plan_of(data: Path, tasks: list[Task]) -> Callable[..., Plan]:
    """`plan_of(*methods, counts=(3,), seed=0, only=())`: a plan on the tasks."""

    def plan(*methods: Contender, counts: tuple[int, ...] = (3,), seed: int = 0, only: tuple[str, ...] = ()) -> Plan:
        chosen = [task for task in tasks if not only or task.name in only]
        return make_plan(chosen, data, methods or (PAINTED_ONLY,), ["tiny"], counts, MethodSettings(seed=seed))

    return plan


def row(task: str, dice: float, k: Any = 3, **more: Any) -> dict[str, Any]:
    """A finished row of method M."""
    scores = {"dice": dice, "hd95_mm": 2.0, "assd_mm": 1.0, "seconds": 4.0, "peak_memory_bytes": 5 * 10**6}
    place = {"key": f"{task}{k}{more}", "method": "m", "title": "M", "encoder": None, "k": k, "task": task}
    return {**place, "status": "done", "details": {}, **scores, **more}
