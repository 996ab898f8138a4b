"""The module in its window with the real session, scene and background process, operated as by a user."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import slicer
import slicer.util
from harness import application, qmrml_widgets, scripted
from harness.scene import add_volume, only, paint, stored, voxels

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.widgets.parameters import SceneParameters
from FewShotSAMLib.widgets.services import Services, SettingsStore
from FewShotSAMLib.widgets.views import SliceViews
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.workflow import Message, Session, State

MODULE = Path(__file__).resolve().parents[3] / "FewShotSAM" / "FewShotSAM.py"
SHAPE = (32, 64, 64)
PAINTED = (7, 15, 24)
STRAIGHT = Geometry((64, 64, 32), (1.0, 1.0, 3.0), (-32.0, -20.0, 7.0))
LONGEST_TURN_S = 0.1


class Journey:
    """The open module, with Qt's event loop run by the test, so that its turns can be timed."""

    def __init__(self, folder: Path, client: WorkerClient, realServices: bool = False) -> None:
        self.dialogs, self.client = fakes.FakeDialogs(), client

        def makeServices(editor: Any) -> Services:
            scene = MRMLScene(segmentEditor=editor)
            session = Session(scene, client, folder=folder)
            store, dependencies = SettingsStore(), fakes.FakeDependencies()
            return Services(session, scene, SliceViews(), SceneParameters(), store, self.dialogs, dependencies)

        def prepare(widget: Any) -> None:
            widget.makeServices = widget.makeServices if realServices else makeServices

        self.representation = scripted.openModule(MODULE, prepare)
        self.widget = self.representation.self()
        self.session: Any = self.widget.panel.services.session
        self.ui: Any = slicer.util.childWidgetVariables(self.widget.parent)
        self.widget.parent.resize(400, 1000)
        self.widget.parent.show()
        self.turns: list[tuple[float, float]] = []  # wall-clock seconds, and this thread's processor seconds
        self.said: list[Message] = []
        self.stages: list[str] = []
        self.session.said.connect(self.said.append)
        self.session.progressed.connect(lambda progress: self.stages.append(progress.stage))

    def close(self) -> None:
        """End it as when Slicer quits."""
        self.widget.root = None  # as in conftest.py
        scripted.closeModule("FewShotSAM")
        self.representation.hide()
        qmrml_widgets.stopFollowing()

    def until(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        """Run the event loop, as in the application, until a condition holds. Other programs may use the computer."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{self.session.state}; {self.ui.logText.plainText}"
            start, work = time.perf_counter(), time.thread_time()
            application.processEvents()
            self.turns.append((time.perf_counter() - start, time.thread_time() - work))
            time.sleep(0.002)

    def rest(self, seconds: float = 0.11) -> None:
        """Run some more turns of the event loop, with two ticks of the panel among them."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, seconds + 5)

    def open(self, geometry: Geometry, image: np.ndarray, name: str = "Größe 腎臓") -> None:
        """Load a volume and open the module on it; the panel creates a segmentation with one segment."""
        self.geometry = geometry
        self.volume = add_volume(slicer.mrmlScene, image, geometry, name)
        self.representation.enter()
        self.ui.volumeSelector.setCurrentNodeID(self.volume.GetID())

    @property
    def segmentation(self) -> Any:
        return slicer.mrmlScene.GetNodeByID(self.session.target.segmentation)

    @property
    def editor(self) -> Any:
        """The embedded Segment Editor."""
        return self.ui.editorFrame.layout().itemAt(0).widget()

    def segmentIds(self) -> list[str]:
        return list(self.segmentation.GetSegmentation().GetSegmentIDs())

    def paint(self, truth: np.ndarray, axis: int, indices: Sequence[int], number: int = 0) -> None:
        """Paint a segment, complete on these slices, as the Segment Editor stores it; wait until they are listed."""
        drawn = only(truth, axis, indices) | self.voxels(number)
        paint(self.segmentation, self.segmentIds()[number], drawn, self.geometry)
        expected = {int(index) for index in indices if np.moveaxis(truth, axis, 0)[index].any()}
        self.until(lambda: expected <= {each.index for each in self.session.painted})
        self.until(lambda: self.ui.propagateButton.enabled)

    def voxels(self, number: int = 0) -> np.ndarray:
        """Return (K, J, I) bool: a segment as it is in the scene."""
        return voxels(self.segmentation, self.segmentIds()[number], self.geometry)

    def stored(self) -> dict[str, Any]:
        """Return the whole segmentation, bit for bit."""
        return stored(self.segmentation)

    def limit(self, first: int, last: int) -> None:
        """Restrict the prediction to these slices."""
        self.ui.firstSlice.setRange(0, 1000)
        self.session.range = (first, last)
        self.widget.panel.services.parameters.sliceRange = (first, last)

    def start(self) -> None:
        """Press Propagate, and wait until the background process is working."""
        self.stages.clear()
        assert self.ui.propagateButton.text == "Propagate"
        self.ui.propagateButton.click()
        self.until(lambda: self.session.state is State.RUNNING)

    def propagate(self) -> None:
        """Press Propagate and wait for the preview."""
        self.start()
        self.until(lambda: self.session.state not in (State.RUNNING, State.PREPARING))
        assert self.session.state is State.PREVIEW, self.said
        self.rest()

    def untilPreview(self) -> None:
        """Wait for the result of a run."""
        self.until(lambda: self.session.state is State.PREVIEW)
        self.rest()

    def press(self, name: str) -> None:
        """Click a button that must be enabled."""
        button = getattr(self.ui, name)
        assert button.enabled, (name, button.toolTip)
        button.click()
        self.rest()

    def message(self) -> str:
        """Return what the message line shows, "" if there is none."""
        self.rest()
        return str(self.ui.messageLabel.text) if self.ui.messageFrame.visible else ""

    def checkClean(self) -> None:
        """Check that nothing of a run is left, and the panel is ready for another."""
        self.rest()
        assert (self.session.state, self.session.preview) == (State.IDLE, None)
        assert not self.ui.progressFrame.visible and not self.ui.previewFrame.visible
        assert self.ui.propagateButton.text == "Propagate"
        assert not [name for name in nodeNames("vtkMRMLSegmentationNode") if "preview" in name]


def nodeNames(className: str) -> list[str]:
    """Return the names of the scene's nodes of a class."""
    return [node.GetName() for node in slicer.util.getNodesByClass(className)]


def ellipsoid(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return (K, J, I) bool, somewhat off-centre."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    return np.asarray((grid[0] / 0.75) ** 2 + (grid[1] / 0.56) ** 2 + ((grid[2] - 0.06) / 0.44) ** 2 < 1)


def imageOf(truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return int16 of this shape: brighter inside, noise everywhere; another seed is another volume to all caches."""
    image = np.random.default_rng(seed).normal(0, 20, truth.shape).astype(np.int16)
    image[truth] += 200
    return image
