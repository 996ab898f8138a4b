"""Slicer's own widgets and plug-ins behave in the harness as in their sources."""

from typing import Any

import numpy as np
import pytest
import qt
import slicer
import slicer.util
import vtk
from harness import problems, qmrml_widgets, scripted
from harness.places import bend

VOLUME, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"


def add(className: str, name: str, hidden: bool = False) -> Any:
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(hidden)
    return slicer.mrmlScene.AddNode(node)


def selectorOf(*classNames: str, **properties: Any) -> Any:
    """A node selector on the scene, and in `heard` the ids that it emitted."""
    selector = slicer.qMRMLNodeComboBox()
    for name, value in {"nodeTypes": list(classNames), **properties}.items():
        setattr(selector, name, value)
    selector.setMRMLScene(slicer.mrmlScene)
    return selector


@pytest.fixture(autouse=True)
def unobserved() -> Any:
    yield
    qmrml_widgets.stopFollowing()


def listed(selector: Any) -> list[str]:
    return [selector.nodeFromIndex(number).GetName() for number in range(selector.nodeCount())]


def test_without_none_the_first_node_is_chosen_at_once() -> None:
    assert selectorOf(SEGMENTATION).currentNodeID == ""
    first = add(SEGMENTATION, "first")
    add(SEGMENTATION, "second")
    assert selectorOf(SEGMENTATION).currentNode() is first
    assert selectorOf(SEGMENTATION, noneEnabled=True).currentNode() is None


@pytest.mark.parametrize(("actions", "chosen"), [(True, ""), (False, "first")])
def test_without_none_a_node_that_comes_later_is_chosen_only_where_the_menu_has_no_actions(
    actions: bool, chosen: str
) -> None:
    selector = selectorOf(SEGMENTATION, addEnabled=actions, removeEnabled=actions)
    add(SEGMENTATION, "first")
    add(SEGMENTATION, "second")
    assert (selector.currentNode().GetName() if selector.currentNode() else "") == chosen


def test_a_removed_node_is_left_for_its_neighbour_or_for_none() -> None:
    nodes = [add(SEGMENTATION, name) for name in ("first", "second")]
    without, withNone = selectorOf(SEGMENTATION), selectorOf(SEGMENTATION, noneEnabled=True)
    withNone.setCurrentNode(nodes[0])
    heard: list[str] = []
    withNone.connect("currentNodeIDChanged(QString)", heard.append)
    slicer.mrmlScene.RemoveNode(nodes[0])
    assert without.currentNode() is nodes[1]
    assert heard[-1] == (withNone.currentNodeID or "")


def test_hidden_nodes_and_child_types_are_left_out_as_asked() -> None:
    for className in (VOLUME, "vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"):
        add(className, className)
    add(VOLUME, "hidden", hidden=True)
    everything = [VOLUME, "vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"]
    assert listed(selectorOf(VOLUME)) == everything
    assert listed(selectorOf(VOLUME, showChildNodeTypes=False)) == [VOLUME]
    selector, node = selectorOf(SEGMENTATION), add(SEGMENTATION, "seen")
    node.SetHideFromEditors(True)
    assert listed(selector) == []


def test_batch_processing_delays_nothing_and_an_import_loses_the_choice() -> None:
    node, selector = add(SEGMENTATION, "first"), selectorOf(SEGMENTATION, noneEnabled=True)
    selector.setCurrentNode(node)
    scene = slicer.mrmlScene
    scene.StartState(scene.BatchProcessState)
    add(SEGMENTATION, "second")
    assert listed(selector) == ["first", "second"]
    scene.EndState(scene.BatchProcessState)
    assert selector.currentNode() is node
    scene.StartState(scene.ImportState)
    add(SEGMENTATION, "third")
    assert listed(selector) == ["first", "second"]
    scene.EndState(scene.ImportState)
    assert listed(selector) == ["first", "second", "third"]
    assert selector.currentNode() is None


def editorOn(segmentation: Any) -> Any:
    editor, node = slicer.qMRMLSegmentEditorWidget(), slicer.vtkMRMLSegmentEditorNode()
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNode(node))
    editor.setSegmentationNode(segmentation)
    return editor


def test_the_segment_editor_shows_the_reference_volume_of_a_segmentation(scene: Any) -> None:
    segmentation = add(SEGMENTATION, "of the CT")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scene.volume)
    segmentation.GetSegmentation().AddEmptySegment("s1", "liver")
    editor = editorOn(segmentation)
    assert editor.sourceVolumeNode() is scene.volume
    assert editor.currentSegmentID() == "s1"
    assert segmentation.GetDisplayNode() is not None
    for name in slicer.app.layoutManager().sliceViewNames():
        composite = slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == scene.volume.GetID()


def test_effects_are_chosen_by_their_names_and_dropped_with_the_segmentation(scene: Any) -> None:
    segmentation = add(SEGMENTATION, "first")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scene.volume)
    editor = editorOn(segmentation)
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint" and editor.activeEffect().active()
    editor.setSegmentationNode(add(SEGMENTATION, "second"))
    assert editor.activeEffect() is None and editor.effectByName("Paint Brush") is None


def test_an_effect_without_a_parameter_node_is_an_error_in_the_log() -> None:
    with problems.expected("Invalid segment editor parameter set node"):
        slicer.qMRMLSegmentEditorWidget().setActiveEffectByName("Paint")


def test_a_segmentation_without_an_item_fills_the_error_log() -> None:
    log = slicer.app.errorLogModel()
    before = log.logEntryCount()
    node = add(SEGMENTATION, "hidden", hidden=True)
    assert log.logEntryCount() == before
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().AddEmptySegment("s1", "liver")
    node.GetDisplayNode().SetOpacity2DFill(0.3)
    found = problems.takeAll()
    assert len(found) == log.logEntryCount() - before >= 2
    assert "subject hierarchy item for segmentation node hidden" in log.logEntryDescription(log.logEntryCount() - 1)


def test_a_visible_segmentation_has_an_item_with_one_for_each_segment() -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    node = add(SEGMENTATION, "seen")
    node.GetSegmentation().AddEmptySegment("s1", "liver")
    node.GetSegmentation().GetSegment("s1").SetName("spleen")
    item, children = hierarchy.GetItemByDataNode(node), []
    hierarchy.GetItemChildren(item, children)
    assert [hierarchy.GetItemName(child) for child in children] == ["spleen"]
    slicer.mrmlScene.RemoveNode(node)
    assert not hierarchy.GetItemByDataNode(node)


def test_there_are_three_slice_views_and_two_3d_views_after_closing_a_scene_too() -> None:
    manager = slicer.app.layoutManager()
    slicer.mrmlScene.Clear(0)
    orientations = [manager.sliceWidget(name).mrmlSliceNode().GetOrientation() for name in manager.sliceViewNames()]
    assert sorted(orientations) == ["Axial", "Coronal", "Sagittal"]
    assert manager.threeDViewCount == 2
    for number in range(2):
        node = manager.threeDWidget(number).mrmlViewNode()
        assert slicer.mrmlScene.GetNodeByID(node.GetID()) is node and node.IsMappedInLayout()


def test_a_series_with_gantry_tilt_hangs_under_a_transform_that_has_no_matrix(scene: Any) -> None:
    shifts = np.outer(np.arange(40), (0.0, 3.0 * np.tan(np.radians(15)), 0.0))
    transform = bend(scene.volume, shifts)
    assert not transform.IsTransformToWorldLinear()
    before, after, matrix = [-95.0, 22.0, 7.0 + 3 * 10], [0.0, 0.0, 0.0], vtk.vtkMatrix4x4()
    scene.volume.TransformPointToWorld(before, after)
    assert np.allclose(np.subtract(after, before), shifts[10])
    assert not transform.GetMatrixTransformToWorld(matrix)
    problems.takeAll()  # Slicer warns about it each time


def test_leaving_and_entering_is_told_by_the_parent(panel: Any) -> None:
    assert panel.widget.parent.isEntered
    panel.representation.exit()
    assert not panel.representation.isEntered
    panel.representation.enter()
    assert panel.widget.parent.isEntered
    assert slicer.util.getModuleWidget("FewShotSAM") is panel.widget
    assert slicer.util.modulePath("FewShotSAM").endswith("FewShotSAM.py")


def test_the_developers_buttons_are_there_in_developer_mode_only(scene: Any) -> None:
    for wanted in (False, True):
        qt.QSettings().setValue("Developer/DeveloperMode", "true" if wanted else "false")
        widget = slicer.ScriptedLoadableModule.ScriptedLoadableModuleWidget(slicer.qMRMLWidget())
        widget.layout = qt.QVBoxLayout(widget.parent)
        widget.setup()
        assert hasattr(widget, "reloadButton") is wanted
    assert scripted.beforeSetup == []
