"""The module is opened, left and reloaded; Slicer quits."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
import qt
import slicer
import slicer.util
from harness import application, scripted
from harness.binding import QtWidgets

from FewShotSAMLib.workflow import State

MODULE = Path(__file__).resolve().parents[3] / "FewShotSAM" / "FewShotSAM.py"


@pytest.fixture
def reloadable(panel: Any) -> Iterator[Any]:
    """The panel, for tests that may load the module and the library again."""
    before = dict(sys.modules)
    yield panel
    scripted.closeModule("FewShotSAM")
    sys.modules.update(before)


def _press(panel: Any, key: str) -> None:
    """Do what Qt does when a shortcut's key is pressed."""
    wanted = qt.QKeySequence(key)
    for child in panel.root.native.findChildren(qt.QShortcut.nativeClass):
        if child.key() == wanted and child.isEnabled():
            child.activated.emit()


def test_shortcuts_are_there_only_while_the_module_is_open(panel: Any) -> None:
    panel.widget.exit()
    _press(panel, "Ctrl+Shift+P")
    assert panel.session.called("propagate") == []
    panel.widget.enter()
    panel.widget.enter()
    _press(panel, "Ctrl+Shift+P")
    assert panel.session.called("propagate") == [()]
    panel.widget.exit()
    _press(panel, "Ctrl+Shift+P")
    assert panel.session.called("propagate") == [()]


def test_shortcuts_go_to_the_next_slice_and_declare_empty(panel: Any, scene: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=0, review=fakes.review())
    panel.widget.enter()
    _press(panel, "Ctrl+Shift+E")
    assert panel.session.called("set_empty") == [(12, True)]
    _press(panel, "Ctrl+Shift+N")
    assert panel.views.jumps == [(scene.volume.GetID(), 0, 35)]


def test_the_segment_editor_watches_the_views_only_while_the_module_is_open(panel: Any) -> None:
    editor = panel.editor
    panel.widget.enter()
    panel.widget.exit()
    names = [call[0] for call in editor.calls]
    assert names.index("setupViewObservations") < names.index("removeViewObservations")
    assert names.index("installKeyboardShortcuts") < names.index("uninstallKeyboardShortcuts")


def test_a_second_press_during_an_installation_begins_nothing(panel: Any) -> None:
    """Slicer processes events for each line of pip (slicer.util.logProcessOutput): a click, another module, a tick."""
    panel.dependencies.text = "torch is missing."
    panel.widget.enter()
    begun: list[bool] = []

    def install() -> bool:
        begun.append(panel.ui.installButton.enabled)
        panel.ui.installButton.click()
        panel.dependencies.text = ""  # installed, but not completely yet
        panel.widget.exit()
        panel.widget.enter()
        panel.wait()
        assert not panel.session.called("inspect"), "nothing is started half-way"
        return True

    panel.dependencies.install = install
    panel.ui.installButton.click()
    assert begun == [False] and panel.ui.installButton.enabled
    assert not panel.ui.dependencyFrame.visible


@pytest.mark.parametrize("source", ["internet", "/wheels"])
def test_what_is_missing_is_told_until_it_is_installed(panel: Any, source: str) -> None:
    panel.dependencies.text = "PyTorch is missing. Press Install."
    panel.widget.enter()
    assert panel.ui.dependencyFrame.visible
    assert panel.ui.dependencyLabel.text == "PyTorch is missing. Press Install."
    assert panel.ui.propagateButton.toolTip == "PyTorch is missing. Press Install."
    assert not panel.ui.propagateButton.enabled
    panel.dialogs.answer = ""
    panel.ui.installFolderButton.click()
    assert panel.dependencies.installed == []
    button = panel.ui.installFolderButton if source == "/wheels" else panel.ui.installButton
    panel.dialogs.answer = source
    button.click()
    panel.wait(2)
    assert panel.dependencies.installed == [source]
    assert not panel.ui.dependencyFrame.visible
    assert panel.ui.propagateButton.enabled


@pytest.mark.parametrize("need", ["painted", "advanced"])
def test_the_background_process_starts_with_the_first_need_and_not_with_the_panel(panel: Any, need: str) -> None:
    panel.dependencies.text = "PyTorch is missing. Press Install."
    panel.widget.enter()
    panel.go(axis=0, painted=fakes.painted(10))
    assert panel.session.called("inspect") == []
    panel.dependencies.text = ""
    panel.go(painted=())
    panel.widget.enter()
    panel.wait(10)
    assert panel.session.called("inspect") == []
    if need == "painted":
        panel.go(painted=fakes.painted(10))
    else:
        panel.ui.advancedSection.collapsed = False
    panel.wait(10)
    assert panel.session.called("inspect") == [()]


def test_the_panel_opens_with_the_volume_that_is_shown(panel: Any, scene: Any) -> None:
    assert panel.session.called("set_inputs")[-1][0] == scene.volume.GetID()
    panel.widget.exit()
    slicer.mrmlScene.Clear(0)
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    first, shown = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode") for _ in range(2))
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    panel.widget.enter()
    assert panel.ui.volumeSelector.currentNodeID == first.GetID()
    panel.widget.exit()
    panel.ui.volumeSelector.setCurrentNodeID("")
    view.SetBackgroundVolumeID(labels.GetID())
    view.SetForegroundVolumeID(shown.GetID())
    panel.widget.enter()
    assert panel.ui.volumeSelector.currentNodeID == shown.GetID()


def test_nothing_is_made_or_shown_while_another_module_is_open(panel: Any, scene: Any) -> None:
    """A scene that is loaded there must change neither the views nor the scene."""
    editor = panel.editor
    panel.widget.exit()
    slicer.mrmlScene.Clear(0)
    editor.calls.clear()
    panel.session.calls.clear()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    assert [call for call in editor.calls if call[0].startswith("set")] == []
    assert panel.session.called("set_inputs") == []
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    panel.widget.enter()
    assert None not in panel.session.called("set_inputs")[-1]


def test_the_timer_rests_while_another_module_is_open_unless_a_run_goes_on(panel: Any) -> None:
    timer = panel.widget.panel._driver._timer
    assert timer.active
    panel.widget.exit()
    assert not timer.active
    panel.go(state=State.RUNNING)  # a script has started it
    assert timer.active
    looked = len(panel.session.called("thumbnail"))
    panel.wait(10)
    assert len(panel.session.called("thumbnail")) == looked
    panel.go(state=State.PREVIEW)
    assert not timer.active
    panel.widget.enter()
    assert timer.active


def test_a_preview_that_stays_on_screen_is_told_and_can_be_dropped_on_return(
    panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: said.append(text))
    panel.widget.exit()
    assert said == []
    panel.widget.enter()
    panel.go(state=State.RUNNING, preview=fakes.FakePreview())
    panel.go(state=State.PREVIEW, review=fakes.review())
    panel.widget.exit()
    assert "preview stays" in said[-1]
    panel.widget.enter()
    assert panel.ui.discardButton.visible and panel.ui.discardButton.enabled


def test_effects_that_are_registered_later_are_shown_until_the_panel_is_closed(panel: Any) -> None:
    editor = panel.editor
    factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
    editor.calls.clear()
    factory.native.effectRegistered.emit("Grow")
    assert editor.calls == [("updateEffectList",)]
    panel.widget.cleanup()
    editor.calls.clear()
    factory.native.effectRegistered.emit("Shrink")
    assert editor.calls == []


def test_opening_the_module_again_leaves_the_views_as_they_are(panel: Any, scene: Any) -> None:
    slicer.mrmlScene.RemoveNode(scene.volume)
    panel.widget.exit()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    views = [logic.GetSliceCompositeNode() for logic in slicer.app.layoutManager().mrmlSliceLogics()]
    before = [view.GetBackgroundVolumeID() for view in views]
    panel.widget.enter()
    assert panel.ui.volumeSelector.currentNodeID == other.GetID()
    assert views and [view.GetBackgroundVolumeID() for view in views] == before


@pytest.mark.parametrize("way", ["cleanup", "quit"])
def test_the_end_closes_the_session_once_and_stops_the_timer(panel: Any, way: str) -> None:
    panel.widget.enter()
    if way == "quit":
        slicer.app.native.aboutToQuit.emit()
    panel.widget.cleanup()
    panel.widget.cleanup()
    assert panel.session.called("close") == [()]
    polls = panel.session.polls
    panel.session.changed.emit()
    application.processEvents()
    assert panel.session.polls == polls


@pytest.mark.parametrize("entered", [True, False])
def test_after_reload_the_panel_is_as_it_was_opened(reloadable: Any, entered: bool) -> None:
    """Slicer only calls `setup` of the new one."""
    if not entered:
        reloadable.representation.exit()
    reloadable.widget.onReload()
    application.processEvents()
    assert len(reloadable.root.native.findChildren(qt.QShortcut.nativeClass)) == (3 if entered else 0)
    assert reloadable.widget.panel._driver._timer.active == entered
    _press(reloadable, "Ctrl+Shift+P")
    assert reloadable.session.called("propagate") == ([()] if entered else [])


def test_reload_reads_the_library_again_and_leaves_nothing_of_the_old_panel(reloadable: Any) -> None:
    """Slicer hides the old widgets but leaves them in place, where a search by name would find them."""
    name = "FewShotSAMLib.widgets.panel"
    before, old, threads = sys.modules[name], reloadable.widget, threading.active_count()
    reloadable.widget.onReload()
    assert reloadable.widget is not old and old.panel is None
    assert sys.modules[name] is not before
    assert reloadable.session.called("close") == [()]
    application.until(lambda: threading.active_count() <= threads)
    assert len(slicer.util.findChildren(reloadable.root, name="propagateButton")) == 1
    assert len(slicer.util.findChildren(reloadable.root, className="qMRMLSegmentEditorWidget")) == 1


def test_module_says_what_it_is_and_offers_sample_data(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**source: Any) -> None:
            registered.append(source["nodeNames"])

    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=SampleDataLogic))
    scripted.loadModule(MODULE)
    module = slicer.modules.fewshotsam
    assert (module.title, module.categories) == ("FewShotSAM", ["Segmentation"])
    assert "/docs/tutorial.md" in module.helpText and "SlicerFewShotSAM" in module.contributors[0]
    assert not registered, "Sample Data may not be there yet"
    QtWidgets.QApplication.instance().startupCompleted.emit()
    assert "MRHead" in registered


def test_a_slicer_without_its_python_says_so(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from FewShotSAMLib.core.errors import FewShotSAMError

    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **named: shown.append(text))

    def fail(editor: Any) -> None:
        raise FewShotSAMError("PythonSlicer was not found.", "Install 3D Slicer again.")

    representation = scripted.openModule(MODULE, lambda widget: setattr(widget, "makeServices", fail))
    representation.enter()
    representation.exit()
    scripted.closeModule("FewShotSAM")
    assert shown == ["PythonSlicer was not found. Install 3D Slicer again."]


def test_the_panel_ticks_faster_while_a_thread_works(panel: Any) -> None:
    timer = panel.widget.panel._driver._timer
    usual = timer.interval
    panel.session.wait = lambda seconds: seconds <= 0.02
    panel.wait(1)
    assert timer.interval < usual
    panel.session.wait = lambda seconds: False
    panel.wait(1)
    assert timer.interval == usual


def test_the_self_test_of_an_installed_extension_says_that_it_has_none(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(panel.module, "__file__", str(tmp_path / "qt-scripted-modules" / "FewShotSAM.py"))
    panel.module.FewShotSAMTest("runTest").runTest()
    assert "source tree" in caplog.text
