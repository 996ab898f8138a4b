"""A session without a worker, and other fakes around the panel; tests set what they say and see what they get."""

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.pace import Pace, Work
from FewShotSAMLib.core.segment import Segment
from FewShotSAMLib.mrml.volumes import sceneVolume
from FewShotSAMLib.workflow import (
    Device,
    EncoderState,
    Machine,
    ModelEntry,
    PaintedSlice,
    Review,
    Settings,
    Signal,
    SliceReview,
    State,
    Target,
)
from FewShotSAMLib.workflow.earlier import EarlierModelsMixin
from FewShotSAMLib.workflow.painted_slices import PaintedState
from FewShotSAMLib.workflow.scene import SceneSegment, SceneVolume
from FewShotSAMLib.workflow.work import work_of


class FakePreview:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def set_opacity(self, opacity: float) -> None:
        self.calls.append(("opacity", opacity))

    def set_shown_in_3d(self, shown: bool) -> None:
        self.calls.append(("3d", shown))


class FakeModels:
    """A library in memory."""

    def __init__(self) -> None:
        self.held: list[ModelEntry] = []
        self.copied: list[tuple[ModelEntry, Path]] = []

    def put(self, name: str) -> ModelEntry:
        segments = (Segment("s1", "liver", (0.9, 0.4, 0.3), 1), Segment("s2", "tumour", (0.2, 0.6, 0.9), 2))
        entry = ModelEntry(
            name, Path(f"/models/{name}.fewshot"), "few-shot", "tiny", "axial", segments, 0.0, 2_400_000, 1
        )
        self.held.append(entry)
        return entry

    def entries(self) -> list[ModelEntry]:
        return list(self.held)

    def add_file(self, path: Path) -> ModelEntry:
        if path.suffix != ".fewshot":
            raise BadInputError(f"{path.name} is no few-shot model.", "Choose a file that ends in .fewshot.")
        return self.put(path.stem)

    def rename(self, entry: ModelEntry, name: str) -> ModelEntry:
        self.delete(entry)
        return self.put(name)

    def delete(self, entry: ModelEntry) -> None:
        self.held.remove(entry)

    def copy_to(self, entry: ModelEntry, path: Path) -> None:
        self.copied.append((entry, path))


class FakeRecovery:
    """What earlier sessions left: nothing, unless `left` is filled."""

    def __init__(self) -> None:
        self.left: list[Any] = []
        self.put: list[tuple[Any, Target]] = []
        self.restored = ""

    def put_back(self, left: Any, target: Target) -> str:
        self.left.remove(left)
        self.put.append((left, target))
        return self.restored

    def drop(self, left: Any) -> None:
        self.left.remove(left)


class FakeSession(EarlierModelsMixin):
    """Records each call in `calls`; `go` changes what it shows."""

    def __init__(self) -> None:
        self.changed, self.progressed, self.said, self.logged = Signal(), Signal(), Signal(), Signal()
        self.state = State.IDLE
        self.target: Target | None = None
        self.settings = Settings()
        self.painted: tuple[PaintedSlice, ...] = ()
        self.axis: int | None = None
        self.chosen_axis: int | None = None
        self.learned_model = None
        self.applied: Any = None
        self.range: tuple[int, int] | None = None
        self.review: Review | None = None
        self.preview: FakePreview | None = None
        self.machine: Machine | None = None
        self.models = FakeModels()
        self.kept = FakeRecovery()
        self.reason = ""
        self.calls: list[tuple[Any, ...]] = []
        self.fails_with: BadInputError | None = None
        self.polls = 0

    @property
    def found(self) -> PaintedState:
        return PaintedState(self.axis, self.painted)

    def go(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.emit()

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def set_inputs(self, volume_id: str | None, segmentation_id: str | None) -> None:
        self.calls.append(("set_inputs", volume_id, segmentation_id))
        target = Target(volume_id, segmentation_id) if volume_id and segmentation_id else None
        if target != self.target:
            self.target, self.range = target, None
        self.changed.emit()

    @property
    def is_busy(self) -> bool:
        return self.state in (State.PREPARING, State.RUNNING, State.CANCELLING)

    def _names(self) -> list[str]:
        return ["Liver"]

    def set_axis(self, axis: int | None) -> None:
        self.calls.append(("set_axis", axis))
        self.chosen_axis = axis
        self.changed.emit()

    def thumbnail(self, index: int, longest: int) -> np.ndarray:
        self.calls.append(("thumbnail", index))
        image = np.zeros((longest, longest * 3 // 4, 3), np.uint8)
        image[longest // 4 : longest // 2, 8:-8] = 90
        image[longest // 3 : longest // 2, 12:24] = (230, 100, 70)
        return image

    def why_not(self) -> str:
        return self.reason

    def work(self, count: int) -> Work:
        return work_of(self.painted, self.range, count)

    def next_slice(self) -> int | None:
        return self.review.next_slices[0] if self.review and self.review.next_slices else None

    def wait(self, longest_s: float) -> bool:
        return False

    def poll(self) -> None:
        self.polls += 1

    def __getattr__(self, name: str) -> Any:
        if name not in _PLAIN_CALLS:
            raise AttributeError(name)

        def call(*values: Any) -> None:
            self.calls.append((name, *values))
            if self.fails_with is not None:
                raise self.fails_with

        return call


_PLAIN_CALLS = {
    *("mark_modified", "set_ticked", "set_empty", "delete_slice", "propagate", "cancel", "apply"),
    *("discard", "save_model", "apply_model", "inspect", "download", "clear_cache", "export", "close", "forget_scene"),
    "give_up",
}


class FakeScene:
    """Makes real segmentation nodes, and has two segments, or others if `named` says so."""

    def __init__(self) -> None:
        self.named = {"s1": ("liver", (0.9, 0.4, 0.3)), "s2": ("tumour", (0.2, 0.6, 0.9))}

    def create_segmentation(self, volume_id: str) -> str:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
        node.GetSegmentation().AddEmptySegment("s1", "liver", (0.9, 0.4, 0.3))
        return str(node.GetID())

    def exists(self, node_id: str) -> bool:
        return bool(node_id) and slicer.mrmlScene.GetNodeByID(node_id) is not None

    def volume(self, volume_id: str) -> SceneVolume:
        return sceneVolume(slicer.mrmlScene.GetNodeByID(volume_id))

    def segments(self, target: Target) -> list[SceneSegment]:
        nothing = np.zeros((0, 0, 0), np.uint8)
        return [SceneSegment(each, *words, nothing, (0, 0, 0), 1) for each, words in self.named.items()]


class FakeViews:
    """One view on slice `current` of 40."""

    def __init__(self) -> None:
        self.current: int | None = 12
        self.tilted = False
        self.jumps: list[tuple[str, int, int]] = []

    def sliceCount(self, volumeId: str, axis: int) -> int:
        return 40

    def currentSlice(self, volumeId: str, axis: int) -> int | None:
        return self.current

    def areTilted(self, volumeId: str) -> bool:
        return self.tilted

    def rotateTo(self, volumeId: str) -> None:
        self.tilted = False

    def jumpTo(self, volumeId: str, axis: int, index: int) -> None:
        self.jumps.append((volumeId, axis, index))
        self.current = index


class FakeDialogs:
    """Answers at once; `answer` is the next answer."""

    def __init__(self) -> None:
        self.answer: Any = ""
        self.asked: list[tuple[Any, ...]] = []
        self.pages: list[Path] = []

    def showPage(self, path: Path) -> None:
        self.pages.append(path)

    def _ask(self, *question: Any) -> Any:
        self.asked.append(question)
        return self.answer

    askName = confirm = openFile = openFolder = saveFile = _ask


class FakeDependencies:
    def __init__(self) -> None:
        self.text = ""
        self.installed: list[str] = []

    def status(self) -> str:
        return self.text

    def install(self) -> bool:
        return self.installFromFolder("internet")

    def installFromFolder(self, folder: str) -> bool:
        self.installed.append(folder)
        self.text = ""
        return True


def painted(*indices: int, empty: tuple[int, ...] = ()) -> tuple[PaintedSlice, ...]:
    entries = [PaintedSlice(index, ("s1", "s2")) for index in indices]
    return tuple(sorted([*entries, *(PaintedSlice(index, (), True, True) for index in empty)], key=lambda e: e.index))


def review() -> Review:
    """40 slices; 3 and 38 empty, 10, 20 and 30 painted; confidence falls with the distance."""
    entries = []
    for index in range(40):
        origin = "painted" if index in (10, 20, 30) else "empty" if index in (3, 38) else "predicted"
        distance = min(abs(index - known) for known in (10, 20, 30))
        entries.append(SliceReview(index, origin, 1.0 if origin != "predicted" else 0.98 - 0.05 * distance))
    summary = "35 slices in 21 s with the encoder tiny on cpu, from the start. Mean confidence 85 %."
    return Review(0, tuple(entries), (35, 5), 0.85, summary)


def machine(*, gpu: bool = False, free: int = 6_000_000_000) -> Machine:
    devices = [Device("cpu", "Processor, 8 cores", 16_000_000_000, free)]
    if gpu:
        devices.insert(0, Device("cuda:0", "NVIDIA RTX 4070", 12_000_000_000, 9_500_000_000))
    encoders = (
        EncoderState(
            *("tiny", "FewShotSAM's own small model", "Apache-2.0", 0, True, 900_000_000, 4.0),
            paces={"few-shot": Pace(6.0, 2.0, 0.02, 0.1)},
        ),
        EncoderState(
            *("vit_b", "Segment Anything ViT-B", "Apache-2.0", 375_042_383, gpu, 2_900_000_000, 4.0),
            paces={"few-shot": Pace(56.0, 20.0, 3.6, 0.4)},
        ),
    )
    return Machine(tuple(devices), devices[0].name, encoders, 1_300_000_000, 20_000_000_000, "/cache", free)
