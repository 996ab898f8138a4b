"""The module is opened, left, reloaded; the scene is closed or loaded; nodes are removed; Slicer quits."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness import application, scripted
from harness.binding import QtWidgets

from FewShotSAMLib.workflow import State

MODULE = Path(__file__).resolve().parents[3] / "FewShotSAM" / "FewShotSAM.py"


def _press(panel: Any, key: str) -> None:
    """What Qt does when the key of a shortcut is pressed."""
    import qt

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
    import fakes

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=0, review=fakes.review())
    panel.widget.enter()
    _press(panel, "Ctrl+Shift+E")
    assert panel.session.called("set_empty") == [(12, True)]
    _press(panel, "Ctrl+Shift+N")
    assert panel.views.jumps == [(scene.volume.GetID(), 0, 35)]


def test_the_segment_editor_watches_the_views_only_while_the_module_is_open(panel: Any) -> None:
    editor = panel.ui.editorFrame.layout().itemAt(0).widget()
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
        panel.dependencies.text = ""  # there, but not complete yet
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
    import fakes

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
    import slicer

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
    """A scene that is loaded there must not change the views, nor the scene."""
    import slicer

    editor = panel.ui.editorFrame.layout().itemAt(0).widget()
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
    import fakes
    import slicer.util

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
    import slicer

    editor = panel.ui.editorFrame.layout().itemAt(0).widget()
    factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
    editor.calls.clear()
    factory.native.effectRegistered.emit("Grow")
    assert editor.calls == [("updateEffectList",)]
    panel.widget.cleanup()
    editor.calls.clear()
    factory.native.effectRegistered.emit("Shrink")
    assert editor.calls == []


def test_closing_the_scene_forgets_it_and_its_nodes(panel: Any, scene: Any) -> None:
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(state=State.RUNNING)
    slicer.mrmlScene.Clear(0)
    assert panel.session.called("forget_scene") == [()]
    assert panel.session.called("set_inputs")[-1] == (None, None)
    panel.go(state=State.IDLE)
    assert panel.ui.volumeSelector.currentNodeID == ""


def test_a_removed_volume_is_taken_from_the_session(panel: Any, scene: Any) -> None:
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    slicer.mrmlScene.RemoveNode(scene.volume)
    assert panel.session.called("set_inputs")[-1][0] is None


@pytest.mark.parametrize("removed", ["volume", "segmentation"])
def test_nothing_is_chosen_in_place_of_a_removed_node(panel: Any, scene: Any, removed: str) -> None:
    """Slicer's selector takes the next one before the chosen one is gone."""
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    chosen = dict(zip(("volume", "segmentation"), panel.session.called("set_inputs")[-1], strict=True))
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    panel.widget.panel.services.scene.create_segmentation(scene.volume.GetID())
    panel.session.calls.clear()
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(chosen.pop(removed)))
    assert panel.session.called("set_inputs") == [(chosen.get("volume"), chosen.get("segmentation"))]
    assert getattr(panel.ui, f"{removed}Selector").currentNodeID == ""
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == (2 if removed == "volume" else 1)


def test_opening_the_module_again_leaves_the_views_as_they_are(panel: Any, scene: Any) -> None:
    import slicer

    slicer.mrmlScene.RemoveNode(scene.volume)
    panel.widget.exit()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    views = [logic.GetSliceCompositeNode() for logic in slicer.app.layoutManager().mrmlSliceLogics()]
    before = [view.GetBackgroundVolumeID() for view in views]
    panel.widget.enter()
    assert panel.ui.volumeSelector.currentNodeID == other.GetID()
    assert views and [view.GetBackgroundVolumeID() for view in views] == before


def test_what_a_loaded_scene_does_to_the_selectors_is_nobodys_choice(panel: Any, scene: Any) -> None:
    """They list all nodes again, and lose what was chosen."""
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    chosen = panel.session.called("set_inputs")[-1]
    panel.session.calls.clear()
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    assert set(panel.session.called("set_inputs")) == {chosen}
    assert panel.ui.volumeSelector.currentNodeID == scene.volume.GetID()


def test_edits_of_the_segmentation_reach_the_session_and_those_of_another_do_not(panel: Any, scene: Any) -> None:
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    first = slicer.mrmlScene.GetNodeByID(panel.session.target.segmentation)
    panel.session.calls.clear()
    first.GetSegmentation().GetSegment("s1").SetName("Liver")
    first.GetSegmentation().AddEmptySegment("s9", "new")
    heard = len(panel.session.called("mark_modified"))
    assert heard >= 2
    panel.wait(2)
    panel.ui.newSegmentationButton.click()
    panel.session.calls.clear()
    first.GetSegmentation().AddEmptySegment("s10", "newer")
    assert panel.session.called("mark_modified") == []


def test_a_segment_that_is_hidden_or_shown_reaches_the_session(panel: Any, scene: Any) -> None:
    """A hidden one takes no part; its voxels do not change by that."""
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    node = slicer.mrmlScene.GetNodeByID(panel.session.target.segmentation)
    node.CreateDefaultDisplayNodes()
    for visible in (False, True):
        panel.session.calls.clear()
        node.GetDisplayNode().SetSegmentVisibility("s1", visible)
        assert panel.session.called("mark_modified")
    panel.wait(2)
    panel.ui.newSegmentationButton.click()
    panel.session.calls.clear()
    node.GetDisplayNode().SetSegmentVisibility("s1", False)
    assert panel.session.called("mark_modified") == []


def test_a_loaded_scene_brings_inputs_and_range_back(panel: Any, scene: Any, tmp_path: Path) -> None:
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=1)
    panel.ui.rangeCheck.click()
    panel.ui.lastSlice.setValue(9)
    saved = slicer.mrmlScene.GetSingletonNode("FewShotSAM", "vtkMRMLScriptedModuleNode")
    assert saved.GetNodeReferenceID("volume") == scene.volume.GetID()
    assert saved.GetAttribute("ModuleName") == "FewShotSAM"
    panel.session.calls.clear()
    panel.session.range = None
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    assert panel.session.range == (0, 9)
    assert panel.session.called("set_inputs")[-1][0] == scene.volume.GetID()


@pytest.mark.parametrize("way", ["cleanup", "quit"])
def test_the_end_closes_the_session_once_and_stops_the_timer(panel: Any, way: str) -> None:
    import slicer

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
def test_after_reload_the_panel_is_as_it_was_opened(panel: Any, entered: bool) -> None:
    """Slicer calls `setup` of the new one only."""
    import qt

    before = dict(sys.modules)
    try:
        if not entered:
            panel.representation.exit()
        panel.widget.onReload()
        application.processEvents()
        assert len(panel.root.native.findChildren(qt.QShortcut.nativeClass)) == (3 if entered else 0)
        assert panel.widget.panel._driver._timer.active == entered
        _press(panel, "Ctrl+Shift+P")
        assert panel.session.called("propagate") == ([()] if entered else [])
    finally:
        scripted.closeModule("FewShotSAM")
        sys.modules.update(before)


def test_reload_reads_the_library_anew(panel: Any) -> None:
    before, old = dict(sys.modules), panel.widget
    try:
        panel.widget.onReload()
        assert panel.widget is not old and old.panel is None
        name = "FewShotSAMLib.widgets.panel"
        assert sys.modules[name] is not before[name]
        assert panel.session.called("close") == [()]
    finally:
        scripted.closeModule("FewShotSAM")
        sys.modules.update(before)


def test_nothing_of_the_old_panel_is_left_after_a_reload(panel: Any) -> None:
    """Slicer hides what was there and leaves it in place, where it would be found by its name."""
    import slicer.util

    before = dict(sys.modules)
    try:
        panel.widget.onReload()
        application.processEvents()
        assert len(slicer.util.findChildren(panel.root, name="propagateButton")) == 1
        assert len(slicer.util.findChildren(panel.root, className="qMRMLSegmentEditorWidget")) == 1
    finally:
        scripted.closeModule("FewShotSAM")
        sys.modules.update(before)


def test_module_says_what_it_is_and_offers_sample_data(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**source: Any) -> None:
            registered.append(source["nodeNames"])

    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=SampleDataLogic))
    import slicer

    scripted.loadModule(MODULE)
    module = slicer.modules.fewshotsam
    assert (module.title, module.categories) == ("FewShotSAM", ["Segmentation"])
    assert "/docs/tutorial.md" in module.helpText and "SlicerFewShotSAM" in module.contributors[0]
    assert not registered, "Sample Data may not be there yet"
    QtWidgets.QApplication.instance().startupCompleted.emit()
    assert "MRHead" in registered


def test_another_volume_is_predicted_in_full(panel: Any, scene: Any) -> None:
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=0)
    panel.ui.rangeCheck.click()
    assert panel.session.range == (0, 39)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    panel.ui.volumeSelector.setCurrentNodeID(other.GetID())
    assert panel.session.range is None


def test_a_slicer_without_its_python_says_so(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer.util

    from FewShotSAMLib.core.errors import FewShotSAMError

    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **named: shown.append(text))

    def fail(editor: Any) -> None:
        raise FewShotSAMError("PythonSlicer was not found.", "Install 3D Slicer again.")

    def prepare(widget: Any) -> None:
        widget.makeServices = fail

    representation = scripted.openModule(MODULE, prepare)
    representation.enter()
    representation.exit()
    scripted.closeModule("FewShotSAM")
    assert shown == ["PythonSlicer was not found. Install 3D Slicer again."]


def test_the_editors_undo_takes_back_what_was_saved_before(panel: Any, scene: Any) -> None:
    """What `MRMLScene` relies on when it commits results."""
    import numpy as np
    import slicer
    import slicer.util

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    editor = panel.ui.editorFrame.layout().itemAt(0).widget()
    segmentation = slicer.mrmlScene.GetNodeByID(panel.session.target.segmentation)
    assert editor.mrmlSegmentEditorNode().GetSegmentationNode() is segmentation
    editor.saveStateForUndo()
    segmentation.GetSegmentation().RemoveAllSegments()
    editor.undo()
    assert segmentation.GetSegmentation().GetSegmentIDs() == ("s1",)
    assert np.array_equal(slicer.util.arrayFromVolume(scene.volume), np.zeros((40, 30, 20)))


def test_the_last_word_after_closing_a_scene_is_that_nothing_is_chosen(panel: Any, scene: Any) -> None:
    """Even where the selectors hear of it after the panel and still show the old nodes."""
    import slicer

    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    old = panel.session.called("set_inputs")[-1]
    panel.session.calls.clear()
    slicer.mrmlScene.Clear(0)
    assert old not in panel.session.called("set_inputs")


def test_the_editor_lets_go_of_a_closing_scene_and_watches_the_views_of_the_next(panel: Any, scene: Any) -> None:
    import slicer

    editor = panel.ui.editorFrame.layout().itemAt(0).widget()
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.widget.enter()
    editor.calls.clear()
    slicer.mrmlScene.Clear(0)
    names = [call[0] for call in editor.calls]
    assert names.index("removeViewObservations") < names.index("setupViewObservations")
    assert ("setSegmentationNode", None) in editor.calls
    panel.widget.cleanup()
    assert editor.mrmlSegmentEditorNode() is None
    assert editor.calls[-1] == ("removeViewObservations",)


def test_the_panel_ticks_faster_while_a_thread_works(panel: Any) -> None:
    timer = panel.widget.panel._driver._timer
    usual = timer.interval
    panel.session.wait = lambda seconds: seconds <= 0.02
    panel.wait(1)
    assert timer.interval < usual
    panel.session.wait = lambda seconds: False
    panel.wait(1)
    assert timer.interval == usual


def test_a_damaged_range_in_the_scene_is_none(panel: Any, scene: Any) -> None:
    parameters = panel.widget.panel.services.parameters
    parameters.sliceRange = (3, 5)
    assert parameters.sliceRange == (3, 5)
    for text in ("3,five", "3", ",,", "3;5"):
        parameters._node().SetParameter("range", text)
        assert parameters.sliceRange is None


def test_the_self_test_of_an_installed_extension_says_that_it_has_none(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(panel.module, "__file__", str(tmp_path / "qt-scripted-modules" / "FewShotSAM.py"))
    panel.module.FewShotSAMTest("runTest").runTest()
    assert "source tree" in caplog.text
