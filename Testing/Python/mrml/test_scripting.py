"""Propagating from a script, without panel and Qt: real MRML classes and the real background process."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from harness.scene import EditorWidget, add_segmentation, add_volume, only, paint, stored, voxels
from warm import BriefClient, WarmClient

from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.scripting import Application, Result, Scripting
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.workflow import Progress, Session
from FewShotSAMLib.workflow.notes import Notes

PAINTED, EMPTY = [3, 6, 9], [0, 12]
GEOMETRY = Geometry((64, 56, 13), (0.8, 0.8, 5.0), (-12.5, 30.25, -80.0))
PATIENCE_S = 120
STEPS = 2  # these tests only check what a script sees


class HandTimer:
    """A timer that ticks when the test says so."""

    def __init__(self, tick: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self.tick, self.failed, self.started = tick, failed, False

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.started = False


@dataclass
class Desk:
    """A scene with a bright ellipsoid painted on three slices, and an application around it that a test drives."""

    scene: slicer.vtkMRMLScene
    new_client: Callable[[], WorkerClient]
    truth: np.ndarray = field(init=False)
    volume: slicer.vtkMRMLVolumeNode = field(init=False)
    segmentation: slicer.vtkMRMLSegmentationNode = field(init=False)
    editors: list[EditorWidget] = field(default_factory=list)
    clients: list[WorkerClient] = field(default_factory=list)
    timers: list[HandTimer] = field(default_factory=list)
    events: int = 0
    on_events: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in GEOMETRY.shape), indexing="ij")
        self.truth = (axes[0] / 0.85) ** 2 + (axes[1] / 0.5) ** 2 + (axes[2] / 0.65) ** 2 < 1
        noise = np.random.default_rng(3).normal(0, 15, GEOMETRY.shape)
        self.volume = add_volume(self.scene, (np.where(self.truth, 120, -60) + noise).astype(np.int16), GEOMETRY)
        self.segmentation = add_segmentation(self.scene, self.volume, ["Ellipsoid"])
        paint(self.segmentation, "Ellipsoid", only(self.truth, 0, PAINTED), GEOMETRY)
        self.scripting = Scripting(
            Application(self._session, self._process_events, self._timer, lambda: self.editors), self.scene
        )

    def _session(self, scene: MRMLScene) -> Session:
        self.clients.append(self.new_client())
        return Session(scene, self.clients[-1])

    def _process_events(self) -> None:
        self.events += 1
        self.on_events()

    def _timer(self, tick: Callable[[], None], failed: Callable[[Exception], None]) -> HandTimer:
        self.timers.append(HandTimer(tick, failed))
        return self.timers[-1]

    def propagate(self, **options: Any) -> Result:
        result = self.scripting.propagate(self.volume, self.segmentation, **{"emptySlices": EMPTY, **options})
        assert result is not None
        return result

    def held(self, node: slicer.vtkMRMLSegmentationNode | None = None) -> np.ndarray:
        return voxels(node or self.segmentation, "Ellipsoid", GEOMETRY)

    def until_finished(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.timers[-1].started:
            assert time.monotonic() < end
            self.timers[-1].tick()
            time.sleep(0.01)


@pytest.fixture
def desk(scene: slicer.vtkMRMLScene, warm_client: WarmClient) -> Iterator[Desk]:
    made = Desk(scene, lambda: warm_client)
    yield made
    made.scripting.close()


BUSY = """
import sys, time
from FewShotSAMLib.worker.server import Server

def propagate(parameters, context):
    context.progress("encode", 0, 1)
    while True:
        context.check()
        time.sleep(0.02)

sys.exit(Server(jobs={"propagate": propagate}).run())
"""


@pytest.fixture
def own_desk(scene: slicer.vtkMRMLScene, worker_python: str, tmp_path: Path, warm_client: WarmClient) -> Iterator[Desk]:
    """A desk whose first background process is private and busy until it ends; after it comes the shared one."""
    (tmp_path / "busy.py").write_text(BUSY)
    clients = iter([WorkerClient(worker_python, arguments=["-P", str(tmp_path / "busy.py")]), warm_client])
    made = Desk(scene, lambda: next(clients))
    yield made
    made.scripting.close()


def segmentations(scene: slicer.vtkMRMLScene) -> int:
    return int(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))


def test_a_call_blocks_while_the_application_works_and_writes_the_result(desk: Desk, tmp_path: Path) -> None:
    before, drawn = stored(desk.segmentation), desk.held()
    heard: list[Progress] = []
    result = desk.propagate(onProgress=heard.append)
    assert result.segmentation is desk.segmentation and segmentations(desk.scene) == 1, "no preview is left"
    assert desk.events > 10 and {each.stage for each in heard} >= {"prepare", "learn", "predict"}
    applied = desk.held()
    assert np.array_equal(applied[PAINTED], drawn[PAINTED]) and not applied[EMPTY].any()
    assert dice(applied, desk.truth) > 0.8
    assert result.review is not None and result.review.axis == 0
    assert {each.index for each in result.review.slices if each.origin == "empty"} == set(EMPTY)

    model, file = tmp_path / "größe.fewshot", tmp_path / "result.seg.nrrd"
    desk.scripting.saveModel(model)
    assert desk.scripting.export(desk.volume, desk.segmentation, file) == []
    written = read_segmentation(file)
    assert np.array_equal(written.mask(written.segments[0]), applied)
    made = desk.scripting.applyModel(model, desk.volume)
    assert made is not None and made.segmentation is not desk.segmentation and segmentations(desk.scene) == 2
    assert dice(desk.held(made.segmentation), desk.truth) > 0.5
    assert np.array_equal(desk.held(), applied)
    desk.scripting.undo()
    assert stored(desk.segmentation) == before
    assert len(desk.clients) == 1, "one process for all"


def test_one_undo_of_the_editor_that_has_the_segmentation_selected_takes_it_back(desk: Desk) -> None:
    other = add_segmentation(desk.scene, desk.volume, ["Other"])
    desk.editors = [EditorWidget(desk.scene, other), EditorWidget(desk.scene, desk.segmentation)]
    before = stored(desk.segmentation)
    desk.propagate()
    assert [editor.saved for editor in desk.editors] == [0, 1]
    desk.editors[1].undo()
    assert stored(desk.segmentation) == before


def test_as_a_new_segmentation(desk: Desk) -> None:
    before, drawn = stored(desk.segmentation), desk.held()
    result = desk.propagate(asNewSegmentation=True, sliceRange=(4, 8), axis=0, method="autosam-linear")
    assert stored(desk.segmentation) == before and segmentations(desk.scene) == 2
    assert result.segmentation.GetName() == "segmentation propagated"
    found = desk.held(result.segmentation)
    assert np.array_equal(found[PAINTED], drawn[PAINTED])
    assert found[4:9].any(axis=(1, 2)).all() and not found[10:].any(), "only the range is predicted"


def test_earlier_patients_models(desk: Desk, tmp_path: Path) -> None:
    desk.scripting.propagate(desk.volume, desk.segmentation, asNewSegmentation=True)
    desk.scripting.saveModel(tmp_path / "m.fewshot")
    result = desk.scripting.propagate(
        desk.volume, desk.segmentation, asNewSegmentation=True, models=[tmp_path / "m.fewshot"]
    )
    assert result is not None and result.review is not None and len(result.review.earlier) == 1
    again = desk.scripting.propagate(desk.volume, desk.segmentation, asNewSegmentation=True)
    assert again is not None and again.review is not None and again.review.earlier == ()
    with pytest.raises(BadInputError, match="not a few-shot model"):
        desk.scripting.propagate(desk.volume, desk.segmentation, models=[str(tmp_path / "none.fewshot")])


def test_with_a_callback_the_call_returns_at_once(desk: Desk) -> None:
    ends: list[tuple[Result | None, FewShotSAMError | None]] = []
    assert desk.scripting.propagate(desk.volume, desk.segmentation, onFinished=lambda *end: ends.append(end)) is None
    assert desk.scripting.isRunning and not ends
    with pytest.raises(BadInputError, match=r"under way.*cancel"):
        desk.propagate()
    desk.until_finished()
    ((result, error),) = ends
    assert error is None and result is not None and result.segmentation is desk.segmentation
    assert desk.events == 0 and not desk.scripting.isRunning and dice(desk.held(), desk.truth) > 0.7


def test_cancelled(desk: Desk) -> None:
    before = stored(desk.segmentation)

    def cancel(progress: Progress) -> None:
        if progress.stage in ("predict", "learn"):
            desk.scripting.cancel()

    with pytest.raises(CancelledError):
        desk.propagate(onProgress=cancel)
    assert stored(desk.segmentation) == before and segmentations(desk.scene) == 1
    desk.propagate()
    assert len(desk.clients) == 1, "the process stays warm"


@pytest.mark.parametrize("blocks", [True, False])
def test_closed_during_a_run_nothing_is_left(own_desk: Desk, blocks: bool) -> None:
    """As when Slicer quits, or nothing refers to the logic any more."""
    ends: list[FewShotSAMError | None] = []
    folder = None

    def close(progress: Progress) -> None:
        nonlocal folder
        if progress.stage != "prepare" and folder is None:
            folder = own_desk.scripting._session._job_folder.path
            own_desk.on_events = own_desk.scripting.close
            if not blocks:
                own_desk.scripting.close()

    if blocks:
        with pytest.raises(CancelledError, match="closed"):
            own_desk.propagate(onProgress=close)
    else:
        own_desk.scripting.propagate(
            own_desk.volume,
            own_desk.segmentation,
            onProgress=close,
            onFinished=lambda result, error: ends.append(error),
        )
        own_desk.until_finished()
        assert isinstance(ends[0], CancelledError)
    assert folder is not None and not folder.exists() and segmentations(own_desk.scene) == 1
    assert not own_desk.clients[0].running and not own_desk.scripting.isRunning
    own_desk.on_events = lambda: None
    own_desk.propagate()
    assert len(own_desk.clients) == 2, "the next run starts another"


def test_the_scene_closed_during_a_run(desk: Desk) -> None:
    desk.on_events = lambda: desk.scene.Clear(False) if desk.events == 5 else None
    with pytest.raises(FewShotSAMError, match=r"removed.*Choose a volume"):
        desk.propagate()
    assert segmentations(desk.scene) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"emptySlices": [13]}, "no slice 13"),
        ({"emptyOf": {"Ellipsoid": [13]}}, "no slice 13"),
        ({"emptyOf": {"Spleen": [3]}}, "no segment “Spleen”"),
        ({"axis": 3}, "no axis 3"),
        ({"methode": "lora"}, "no option methode"),
        ({"method": "magic"}, "magic"),
        ({"sliceRange": (9, 3)}, "range ends before it begins"),
    ],
)
def test_wrong_options_are_errors_with_a_hint(desk: Desk, options: dict[str, Any], message: str) -> None:
    before = stored(desk.segmentation)
    with pytest.raises(FewShotSAMError, match=message) as raised:
        desk.propagate(**options)
    assert str(raised.value).endswith(".") and stored(desk.segmentation) == before
    assert segmentations(desk.scene) == 1 and not desk.scripting.isRunning


def test_slices_without_one_segment_are_kept_with_the_segmentation(desk: Desk) -> None:
    desk.on_events = lambda: desk.scripting.cancel()
    with pytest.raises(CancelledError):
        desk.propagate(emptyOf={"Ellipsoid": [EMPTY[0]]}, emptySlices=[])
    notes = Notes.from_text(MRMLScene(desk.scene).note(desk.segmentation.GetID()))
    assert notes.absent == {"Ellipsoid": {EMPTY[0]}}


def test_what_is_missing_is_told(desk: Desk, scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    nothing = add_segmentation(scene, desk.volume, ["A"])
    with pytest.raises(FewShotSAMError, match="Paint the structure on a few slices first"):
        desk.scripting.propagate(desk.volume, nothing)
    with pytest.raises(BadInputError, match=r"None is not a volume node.*vtkMRMLVolumeNode"):
        desk.scripting.propagate(None, desk.segmentation)
    with pytest.raises(BadInputError, match="propagate"):
        desk.scripting.saveModel(tmp_path / "m.fewshot")
    with pytest.raises(BadInputError, match="few-shot model"):
        desk.scripting.applyModel(tmp_path / "none.fewshot", desk.volume)


@pytest.mark.skipif(os.name != "posix", reason="the process is killed by a signal")
def test_a_process_that_dies_is_an_error_and_the_next_run_works(
    scene: slicer.vtkMRMLScene, worker_python: str, tmp_path: Path
) -> None:
    desk = Desk(scene, lambda: BriefClient(worker_python, tmp_path / "home", STEPS))

    def kill() -> None:
        if desk.events == 30:
            desk.clients[0]._process.kill()

    desk.on_events = kill
    with pytest.raises(FewShotSAMError, match="background process"):
        desk.propagate()
    desk.propagate()
    desk.scripting.close()
