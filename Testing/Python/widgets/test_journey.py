"""The user's way through the panel with the real session, the real scene and a real background process."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import slicer
import slicer.util
import vtk
from harness import application
from vtk.util.numpy_support import numpy_to_vtk

from FewShotSAMLib.widgets.parameters import SceneParameters
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.settings_store import SettingsStore
from FewShotSAMLib.widgets.views import SliceViews
from FewShotSAMLib.workflow import State

mrml = pytest.importorskip("FewShotSAMLib.mrml")

SHAPE = (32, 64, 64)
PAINTED = (7, 15, 24)
LONGEST_TURN_S = 0.05


def ellipsoid() -> np.ndarray:
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return np.asarray(((k - 16) / 12) ** 2 + ((j - 32) / 18) ** 2 + ((i - 34) / 14) ** 2 < 1)


class Journey:
    """The module in its window, with Qt's event loop turned by hand, so that its turns can be timed."""

    def __init__(self, folder: Path, workerPython: str) -> None:
        from FewShotSAMLib.worker import WorkerClient
        from FewShotSAMLib.workflow import Session

        self.dialogs = fakes.FakeDialogs()
        module = application.loadModule(Path(__file__).resolve().parents[3] / "FewShotSAM" / "FewShotSAM.py")
        self.widget = module.FewShotSAMWidget()

        def makeServices(editor: Any) -> Services:
            scene = mrml.MRMLScene(segmentEditor=editor)
            session = Session(scene, WorkerClient(workerPython), folder=folder)
            store, dependencies = SettingsStore(), fakes.FakeDependencies()
            return Services(session, scene, SliceViews(), SceneParameters(), store, self.dialogs, dependencies)

        self.widget.makeServices = makeServices
        self.widget.setup()
        self.session: Any = self.widget.panel.services.session
        self.ui: Any = slicer.util.childWidgetVariables(self.widget.parent)
        self.widget.parent.resize(400, 1000)
        self.widget.parent.show()
        self.turns: list[tuple[float, float]] = []  # seconds on the clock, and of this thread's own work

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{self.session.state}; {self.ui.logText.plainText}"
            start, work = time.perf_counter(), time.thread_time()
            application.processEvents()
            self.turns.append((time.perf_counter() - start, time.thread_time() - work))
            time.sleep(0.005)

    def rest(self, seconds: float = 0.3) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, seconds + 5)

    def voxels(self) -> np.ndarray:
        """The segment in the scene, bit for bit, on the volume's grid."""
        found = self.widget.panel.services.scene.segments(self.session.target)[0]
        whole = np.zeros(SHAPE, bool)
        part = found.labels == found.label_value
        where = tuple(slice(o, o + n) for o, n in zip(found.offset, part.shape, strict=True))
        whole[where] = part
        return whole


@pytest.fixture
def journey(scene: Any, tmp_path: Path, worker_python: str) -> Any:
    from harness import qmrml_widgets

    made = Journey(tmp_path / "models", worker_python)
    yield made
    made.widget.cleanup()
    made.widget.parent.hide()
    qmrml_widgets.stopFollowing()


def phantom(scene: Any) -> np.ndarray:
    truth = ellipsoid()
    voxels = np.random.default_rng(0).normal(0, 20, SHAPE).astype(np.int16)
    voxels[truth] += 200
    slicer.util.updateVolumeFromArray(scene.volume, voxels)
    return truth


def paint(journey: Journey, scene: Any, mask: np.ndarray) -> None:
    """As the Segment Editor stores it."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segmentation = slicer.mrmlScene.GetNodeByID(journey.session.target.segmentation)
    image = slicer.vtkOrientedImageData()
    matrix = vtk.vtkMatrix4x4()
    scene.volume.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    image.SetDimensions(*reversed(SHAPE))
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    name = segmentation.GetSegmentation().GetNthSegmentID(0)
    assert logic.SetBinaryLabelmapToSegment(image, segmentation, name, logic.MODE_MERGE_MASK, image.GetExtent())


def test_paint_propagate_look_apply_undo_export(journey: Any, scene: Any, tmp_path: Path) -> None:
    truth, ui = phantom(scene), journey.ui
    journey.widget.enter()
    ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    painted = np.zeros(SHAPE, bool)
    painted[list(PAINTED)] = truth[list(PAINTED)]
    paint(journey, scene, painted)
    journey.until(lambda: [each.index for each in journey.session.painted] == list(PAINTED), 10)
    journey.until(lambda: ui.paintedList.topLevelItemCount == 3 and ui.propagateButton.enabled, 10)
    before = journey.voxels()
    journey.turns.clear()
    ui.propagateButton.click()
    journey.until(lambda: journey.session.state is State.PREVIEW, 200)
    journey.rest()
    turns = np.array(journey.turns)
    assert ui.applyButton.enabled
    assert np.array_equal(journey.voxels(), before)
    ui.applyButton.click()
    journey.rest()
    after = journey.voxels()
    assert np.array_equal(after[list(PAINTED)], truth[list(PAINTED)])
    assert 2 * (after & truth).sum() / (after.sum() + truth.sum()) > 0.9
    ui.editorFrame.layout().itemAt(0).widget().undo()
    journey.rest()
    assert np.array_equal(journey.voxels(), before)
    journey.dialogs.answer = str(tmp_path / "é")
    ui.exportButton.click()
    assert (tmp_path / "é.seg.nrrd").is_file()
    journey.dialogs.answer = "ellipsoid"
    ui.saveModelButton.click()
    assert [entry.name for entry in journey.session.models.entries()] == ["ellipsoid"]
    slicer.mrmlScene.Clear(0)
    journey.rest()
    assert (journey.session.state, journey.session.target) == (State.IDLE, None)
    assert turns[:, 1].max() < LONGEST_TURN_S
    # By the clock another process may have had the computer meanwhile, but not often.
    assert (turns[:, 0] >= LONGEST_TURN_S).mean() < 0.01
    assert "torch" not in sys.modules


def test_the_scene_is_closed_under_a_run(journey: Any, scene: Any) -> None:
    truth = phantom(scene)
    journey.widget.enter()
    journey.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    painted = np.zeros(SHAPE, bool)
    painted[list(PAINTED)] = truth[list(PAINTED)]
    paint(journey, scene, painted)
    journey.until(lambda: len(journey.session.painted) == 3 and journey.ui.propagateButton.enabled, 10)
    journey.ui.propagateButton.click()
    journey.until(lambda: journey.session.state is State.RUNNING, 60)
    slicer.mrmlScene.Clear(0)
    journey.rest(1)
    assert journey.session.state is State.IDLE
    assert (journey.ui.propagateButton.text, journey.ui.propagateButton.enabled) == ("Propagate", False)
    assert not journey.ui.progressFrame.visible
