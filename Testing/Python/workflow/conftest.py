"""A scene of plain arrays: the workflow without Slicer's classes, but with the real background process."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from warm import WarmClient

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.workflow import Message, SceneSegment, SceneVolume, Session, State, Target

STEPS = 2


@dataclass
class ArrayPreview:
    """Remembers what it was given to show."""

    shape: tuple[int, int, int]
    shown: np.ndarray = field(init=False)
    updates: int = 0
    is_removed: bool = False

    def __post_init__(self) -> None:
        self.shown = np.zeros(self.shape, np.uint8)

    @property
    def is_there(self) -> bool:
        return not self.is_removed

    def show(self, classes: np.ndarray, axis: int, indices: Sequence[int]) -> None:
        assert classes.shape[0] == len(indices) and not self.is_removed
        np.moveaxis(self.shown, axis, 0)[list(indices)] = classes
        self.updates += 1

    def set_opacity(self, opacity: float) -> None:
        raise NotImplementedError

    def set_shown_in_3d(self, shown: bool) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        self.is_removed = True


class ArrayScene:
    """One volume "v" with a bright ellipsoid and a segmentation "s" of one label map with two segments."""

    def __init__(self, shape: tuple[int, int, int] = (24, 40, 44)) -> None:
        grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
        self.truth = (grid**2 * np.reshape([2.0, 4.0, 4.0], (3, 1, 1, 1))).sum(axis=0) < 1
        noise = np.random.default_rng(0).normal(0, 20, shape)
        self.voxels = (self.truth * 300 + noise).astype(np.int16)
        size = (shape[2], shape[1], shape[0])
        self.geometry = Geometry(size, (1.0, 1.2, 3.0), (5.0, -7.0, 11.0))
        self.labels = np.zeros(shape, np.uint8)
        self.visible = {"a": True, "b": True}
        self.removed: set[str] = set()
        self.nodes = {"v", "s"}
        self.notes: dict[str, str] = {}
        self.previews: list[ArrayPreview] = []
        self.added: list[tuple[str, Segmentation, str]] = []
        self.undo: list[np.ndarray] = []

    def paint(self, index: int, axis: int = 0, value: int = 1) -> None:
        """Paint the truth on one slice."""
        labels, truth = np.moveaxis(self.labels, axis, 0), np.moveaxis(self.truth, axis, 0)
        labels[index][truth[index]] = value

    def exists(self, node_id: str) -> bool:
        return node_id in self.nodes

    def volume(self, volume_id: str) -> SceneVolume:
        if volume_id not in self.nodes:
            raise BadInputError("There is no such volume.", "Choose another one.")
        return SceneVolume(volume_id, "Volume", self.voxels, self.geometry)

    def segments(self, target: Target) -> list[SceneSegment]:
        colors = {"a": (1.0, 0.0, 0.0), "b": (0.0, 1.0, 0.0)}
        return [
            SceneSegment(name, f"Segment {name}", color, self.labels, (0, 0, 0), number, self.visible[name])
            for number, (name, color) in enumerate(colors.items(), start=1)
            if name not in self.removed
        ]

    def create_segmentation(self, volume_id: str) -> str:
        return "s"

    def commit(
        self,
        target: Target,
        segment_ids: Sequence[str],
        classes: np.ndarray,
        axis: int,
        indices: Sequence[int],
        spared: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        self.undo.append(self.labels.copy())
        values = {number: "ab".index(name) + 1 for number, name in enumerate(segment_ids, start=1)}
        for index in indices:
            labels, found = (np.moveaxis(array, axis, 0)[index] for array in (self.labels, classes))
            changed = {n: v for n, v in values.items() if index not in (spared or {}).get(segment_ids[n - 1], ())}
            for value in changed.values():
                labels[labels == value] = 0
            for number, value in changed.items():
                labels[found == number] = value

    def clear_slice(self, target: Target, segment_ids: Sequence[str], axis: int, index: int) -> None:
        labels = np.moveaxis(self.labels, axis, 0)[index]
        labels[np.isin(labels, ["ab".index(name) + 1 for name in segment_ids])] = 0

    def open_preview(self, target: Target, segment_ids: Sequence[str]) -> ArrayPreview:
        self.previews.append(ArrayPreview(self.labels.shape))
        return self.previews[-1]

    def add_segmentation(self, volume_id: str, segmentation: Segmentation, name: str) -> str:
        self.added.append((volume_id, segmentation, name))
        return f"added{len(self.added)}"

    def note(self, segmentation_id: str) -> str:
        return self.notes.get(segmentation_id, "")

    def set_note(self, segmentation_id: str, text: str) -> None:
        self.notes[segmentation_id] = text

    def export(self, target: Target, segment_ids: Sequence[str], path: Path) -> list[str]:
        path.write_text(" ".join(segment_ids))
        return []


@dataclass
class Stage:
    """A session on a scene of arrays, with all that it reported."""

    scene: ArrayScene
    session: Session
    messages: list[Message]
    longest_poll_s: float = 0.0

    def until(self, condition: Callable[[], bool], patience_s: float = 120.0) -> None:
        """Poll, as a timer would, until the condition holds."""
        end = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < end, f"still {self.session.state}: {self.messages}"
            started = time.monotonic()
            self.session.poll()
            self.longest_poll_s = max(self.longest_poll_s, time.monotonic() - started)
            time.sleep(0.01)

    def settle(self) -> None:
        """Poll until the painted slices are known."""
        self.until(lambda: self.session._tracker.is_up_to_date)

    def edited(self) -> None:
        """Report a change of the segmentation; poll until the painted slices are known again."""
        self.session.mark_modified()
        self.settle()

    def start(self) -> None:
        """Start a run; return when the background process works."""
        self.session.propagate()
        self.until(lambda: self.session.state is State.RUNNING)

    def propagate(self, whole: bool = False) -> None:
        """Run until the preview is there."""
        self.session.propagate(whole)
        self.until(lambda: self.session.state in (State.PREVIEW, State.IDLE))
        assert self.session.state is State.PREVIEW, self.messages

    @property
    def painted(self) -> list[int]:
        """Return the indices of painted and empty slices."""
        return [each.index for each in self.session.painted]

    @property
    def errors(self) -> list[str]:
        return [str(message) for message in self.messages if message.level == "error"]


def opened(scene: ArrayScene, client: WarmClient, folder: Path) -> Stage:
    """Return a session on a scene, once its painted slices are known."""
    made = Stage(scene, Session(scene, client, folder=folder), [])
    made.session.said.connect(made.messages.append)
    made.session.set_inputs("v", "s")
    made.settle()
    return made


@pytest.fixture
def scene() -> ArrayScene:
    """A scene in which nothing is painted."""
    return ArrayScene()


@pytest.fixture
def stage(warm_client: WarmClient, tmp_path: Path) -> Iterator[Stage]:
    """Three slices of segment "a" are painted; nothing runs. These tests do not depend on what is learned."""
    scene = ArrayScene()
    for index in (7, 12, 17):
        scene.paint(index)
    warm_client.steps = STEPS
    made = opened(scene, warm_client, tmp_path / "models")
    yield made
    made.session.close()
