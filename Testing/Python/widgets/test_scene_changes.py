"""Nodes are chosen, edited and removed; the scene is closed or loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util

from FewShotSAMLib.workflow import State


def test_closing_the_scene_forgets_it_and_its_nodes(panel: Any, scene: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(state=State.RUNNING)
    slicer.mrmlScene.Clear(0)
    assert panel.session.called("forget_scene") == [()]
    assert panel.session.called("set_inputs")[-1] == (None, None)
    panel.go(state=State.IDLE)
    assert panel.ui.volumeSelector.currentNodeID == ""


def test_a_removed_volume_is_taken_from_the_session(panel: Any, scene: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    slicer.mrmlScene.RemoveNode(scene.volume)
    assert panel.session.called("set_inputs")[-1][0] is None


@pytest.mark.parametrize("removed", ["volume", "segmentation"])
def test_nothing_is_chosen_in_place_of_a_removed_node(panel: Any, scene: Any, removed: str) -> None:
    """Slicer's selector selects the next node before the chosen one is removed."""
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    chosen = dict(zip(("volume", "segmentation"), panel.session.called("set_inputs")[-1], strict=True))
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    panel.widget.panel.services.scene.create_segmentation(scene.volume.GetID())
    panel.session.calls.clear()
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(chosen.pop(removed)))
    assert panel.session.called("set_inputs") == [(chosen.get("volume"), chosen.get("segmentation"))]
    assert getattr(panel.ui, f"{removed}Selector").currentNodeID == ""
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == (2 if removed == "volume" else 1)


def test_what_a_loaded_scene_does_to_the_selectors_is_nobodys_choice(panel: Any, scene: Any) -> None:
    """They list all nodes again, and lose what was chosen."""
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
    """A hidden segment is ignored; hiding does not change its voxels."""
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


def test_another_volume_is_predicted_in_full(panel: Any, scene: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=0)
    panel.ui.rangeCheck.click()
    assert panel.session.range == (0, 39)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    panel.ui.volumeSelector.setCurrentNodeID(other.GetID())
    assert panel.session.range is None


def test_the_editors_undo_takes_back_what_was_saved_before(panel: Any, scene: Any) -> None:
    """`MRMLScene` relies on this when it commits results."""
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    editor = panel.editor
    segmentation = slicer.mrmlScene.GetNodeByID(panel.session.target.segmentation)
    assert editor.mrmlSegmentEditorNode().GetSegmentationNode() is segmentation
    editor.saveStateForUndo()
    segmentation.GetSegmentation().RemoveAllSegments()
    editor.undo()
    assert segmentation.GetSegmentation().GetSegmentIDs() == ("s1",)
    assert np.array_equal(slicer.util.arrayFromVolume(scene.volume), np.zeros((40, 30, 20)))


def test_the_last_word_after_closing_a_scene_is_that_nothing_is_chosen(panel: Any, scene: Any) -> None:
    """Even if the selectors are notified after the panel and still show the old nodes."""
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    old = panel.session.called("set_inputs")[-1]
    panel.session.calls.clear()
    slicer.mrmlScene.Clear(0)
    assert old not in panel.session.called("set_inputs")


def test_the_editor_lets_go_of_a_closing_scene_and_watches_the_views_of_the_next(panel: Any, scene: Any) -> None:
    editor = panel.editor
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


def test_a_damaged_range_in_the_scene_is_none(panel: Any, scene: Any) -> None:
    parameters = panel.widget.panel.services.parameters
    parameters.sliceRange = (3, 5)
    assert parameters.sliceRange == (3, 5)
    for text in ("3,five", "3", ",,", "3;5"):
        parameters._node().SetParameter("range", text)
        assert parameters.sliceRange is None
