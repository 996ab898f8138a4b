"""The panel under the harness. A process has only one Qt binding: `test_in_*.py` start a process for each."""

import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "FewShotSAM" / "FewShotSAM.py"
BINDING = os.environ.get("FEWSHOTSAM_QT", "")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without a binding, collect only the tests that start the others; with one, all except those."""
    if collection_path.name.startswith("test_") and collection_path.name.startswith("test_in_") == bool(BINDING):
        return True
    return None


if BINDING:
    sys.path.extend([str(REPOSITORY / "Testing" / "Python"), str(Path(__file__).parent)])
    from harness import application, problems, scripted

    SETTINGS = tempfile.TemporaryDirectory()
    application.start(Path(SETTINGS.name))  # now, as the test modules import `qt`

    class _Unexpected(logging.Handler):
        """The panel continues after an unexpected error; a test does not."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                problems.report("".join(traceback.format_exception(*record.exc_info)))

    logging.getLogger().addHandler(_Unexpected(logging.ERROR))


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """Empty scene, no settings; a VTK or Qt message, an unknown signal or a slot's exception fails the test."""
    if not BINDING:
        yield
        return
    import qt
    import slicer

    slicer.mrmlScene.Clear(0)
    qt.QSettings().clear()
    problems.takeAll()
    yield
    application.processEvents()
    assert problems.takeAll() == []


@pytest.fixture
def scene() -> SimpleNamespace:
    """A volume of 40 slices, and the slice views: red is axial, yellow sagittal, green coronal."""
    import numpy as np
    import slicer
    import slicer.util

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT abdomen")
    slicer.util.updateVolumeFromArray(volume, np.zeros((40, 30, 20), np.int16))
    volume.SetSpacing(1.0, 1.0, 3.0)
    volume.SetOrigin(-100.0, 20.0, 7.0)
    views = [slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in ("Red", "Yellow", "Green")]
    return SimpleNamespace(volume=volume, views=views)


@pytest.fixture
def ct(scene: SimpleNamespace) -> SimpleNamespace:
    """Gives the volume air, soft tissue and noise, so that there are facts to show about it."""
    import numpy as np
    import slicer.util

    voxels = np.random.default_rng(0).normal(40, 20, (40, 30, 20))
    voxels[:, :10] -= 1000
    slicer.util.updateVolumeFromArray(scene.volume, voxels.astype(np.int16))
    return scene


class PanelUnderTest:
    """The module, opened as Slicer opens it, with fakes around it; after a reload, `widget` is another one."""

    def __init__(self) -> None:
        import fakes

        self.session, self.views, self.dialogs = fakes.FakeSession(), fakes.FakeViews(), fakes.FakeDialogs()
        self.scene = fakes.FakeScene()
        self.dependencies = fakes.FakeDependencies()
        self._ui: tuple[Any, Any] = None, None
        self.root = self.representation = scripted.openModule(MODULE, self._prepare)
        self.module = sys.modules["FewShotSAM"]
        self.representation.enter()
        self.root.resize(400, 1000)
        self.root.show()

    def _prepare(self, widget: Any) -> None:
        """Called for each Python widget before its `setup`."""
        from FewShotSAMLib.widgets.parameters import SceneParameters
        from FewShotSAMLib.widgets.services import Services, SettingsStore

        self.store = SettingsStore()
        around = self.views, SceneParameters(), self.store, self.dialogs, self.dependencies
        widget.makeServices = lambda segmentEditor: Services(self.session, self.scene, *around)

    @property
    def widget(self) -> Any:
        """The module's Python widget."""
        return self.representation.self()

    @property
    def ui(self) -> Any:
        """The widgets by name, looked up once for each module widget, as a reload makes another."""
        import slicer.util

        if self._ui[0] is not self.widget:
            self._ui = self.widget, slicer.util.childWidgetVariables(self.root)
        return self._ui[1]

    @property
    def editor(self) -> Any:
        """The embedded Segment Editor."""
        return self.ui.editorFrame.layout().itemAt(0).widget()

    def wait(self, ticks: int = 6) -> None:
        """Let the panel tick, without waiting for its timer."""
        for _ in range(ticks):
            self.widget.panel.tick()
        application.processEvents()

    def waitForFacts(self) -> None:
        """Wait for the facts, which a thread finds."""
        end = time.monotonic() + 60
        while not self.ui.factsLabel.text:
            assert time.monotonic() < end
            time.sleep(0.005)
            self.wait(1)

    def go(self, **values: Any) -> None:
        """Change what the session shows, and let the panel update."""
        self.session.go(**values)
        self.wait(2)

    def say(self, signal: str, value: Any) -> None:
        """Let the session emit a signal."""
        getattr(self.session, signal).emit(value)


@pytest.fixture
def panel(scene: SimpleNamespace) -> Iterator[PanelUnderTest]:
    from harness import qmrml_widgets

    made = PanelUnderTest()
    yield made
    made.session.fails_with = None
    made.widget.root = None  # bindings may not notice what Qt deletes by itself, so it is not deleted
    scripted.closeModule("FewShotSAM")
    made.root.hide()
    qmrml_widgets.stopFollowing()


@pytest.fixture
def journey(scene: SimpleNamespace, tmp_path: Path, warm_client: Any) -> Iterator[Any]:
    """The module in its window with everything real, and the background process that many tests share."""
    from journey import Journey

    made = Journey(tmp_path / "models", warm_client)
    yield made
    made.close()
