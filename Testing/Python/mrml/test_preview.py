"""The preview: shown at once, separate from the user's segmentation, removed without a trace."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from harness.scene import add_segmentation, add_volume, new_scene, paint, stored, voxels
from harness.views import SliceView

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.choice import temporaryIds
from FewShotSAMLib.workflow.scene import Target

GRID = Geometry((20, 18, 12), (0.8, 0.9, 3.0), (5, -7, 11))

SAVED = ("vtkMRMLSegmentationNode", "vtkMRMLSegmentEditorNode")


def opened(scene: slicer.vtkMRMLScene, grid: Geometry = GRID):
    volume = add_volume(scene, np.zeros(grid.shape, np.int16), grid)
    node = add_segmentation(scene, volume, ["A", "B"])
    node.GetSegmentation().GetSegment("B").SetColor(0.1, 0.2, 0.3)
    adapter = MRMLScene(scene)
    return volume, node, adapter, adapter.open_preview(Target(volume.GetID(), node.GetID()), ["A", "B"])


@pytest.mark.parametrize("indices", [[2, 9, 5], [4, 5, 6]])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_appear_where_they_belong(scene: slicer.vtkMRMLScene, axis: int, indices: list[int]) -> None:
    volume, node, _, preview = opened(scene)
    paint(node, "A", np.ones(GRID.shape, bool), GRID)
    before = stored(node)
    classes = np.random.default_rng(axis).integers(0, 3, (3, *GRID.slice_shape(axis)), np.uint8)
    preview.show(classes, axis, indices)
    preview.show(classes[:0], axis, [])
    whole = np.zeros(GRID.shape, np.uint8)
    np.moveaxis(whole, axis, 0)[indices] = classes
    for number, name in enumerate("AB", start=1):
        assert np.array_equal(voxels(preview.node, name, GRID), whole == number)
    assert stored(node) == before and volume.GetImageData().GetScalarRange() == (0, 0)


def test_views_hear_of_every_slice(scene: slicer.vtkMRMLScene) -> None:
    _, _, _, preview = opened(scene)
    heard, voxels = [], set()
    preview.node.AddObserver(slicer.vtkSegmentation.RepresentationModified, lambda *_: heard.append(True))
    image = preview.node.GetSegmentation().GetSegment("A").GetRepresentation("Binary labelmap")

    def look(*_: object) -> None:
        voxels.add((image.GetNumberOfPoints(), image.GetPointData().GetScalars().GetNumberOfTuples()))

    for watched, event in (
        (preview.node, slicer.vtkSegmentation.SourceRepresentationModified),
        (preview.node.GetSegmentation(), vtk.vtkCommand.AnyEvent),
        (image, vtk.vtkCommand.ModifiedEvent),
    ):
        watched.AddObserver(event, look)
    modified = image.GetMTime()
    preview.show(np.ones((1, *GRID.slice_shape(0)), np.uint8), 0, [3])
    assert voxels == {(np.prod(GRID.shape),) * 2}, "nobody is shown a grid without its voxels"
    assert heard and image.GetMTime() > modified  # what makes a view's pipeline run again


def test_a_slice_view_shows_what_came(scene: slicer.vtkMRMLScene) -> None:
    grid = Geometry((60, 50, 20), (1, 1, 2))
    volume, _, _, preview = opened(scene, grid)
    view = SliceView(scene)
    view.look_at(volume, 20.0)  # slice 10
    square = np.zeros((1, 50, 60), np.uint8)
    square[0, 10:20, 10:20] = 1
    assert not view.picture().any()
    preview.show(square, 0, [10])
    small = np.count_nonzero(view.picture().any(axis=-1))
    preview.show(square, 0, [11])  # not in this view
    assert np.count_nonzero(view.picture().any(axis=-1)) == small > 0
    square[0, 10:40, 10:20] = 1
    preview.set_shown_in_3d(True)
    preview.show(square, 0, [10])
    assert np.count_nonzero(view.picture().any(axis=-1)) == pytest.approx(3 * small, rel=0.15)
    preview.set_opacity(0)
    assert not view.picture().any()
    preview.set_opacity(1)
    assert view.picture().any()
    preview.remove()
    assert not view.picture().any()


def test_names_colours_and_opacity(scene: slicer.vtkMRMLScene) -> None:
    _, _, _, preview = opened(scene)
    segment = preview.node.GetSegmentation().GetSegment("B")
    assert segment.GetName() == "B" and np.allclose(segment.GetColor(), (0.1, 0.2, 0.3))
    preview.set_opacity(0.25)
    display = preview.node.GetDisplayNode()
    assert {display.GetOpacity2DFill(), display.GetOpacity2DOutline(), display.GetOpacity3D()} == {0.25}


def test_the_surface_stays_until_it_is_made_again(scene: slicer.vtkMRMLScene) -> None:
    _, _, _, preview = opened(scene)

    def points() -> int:
        surface = preview.node.GetSegmentation().GetSegment("A").GetRepresentation("Closed surface")
        return surface.GetNumberOfPoints() if surface else 0

    preview.set_shown_in_3d(True)  # no slice yet
    assert points() == 0
    preview.set_shown_in_3d(False)
    square = np.zeros((4, *GRID.slice_shape(0)), np.uint8)
    square[:, 4:9, 4:9] = 1
    preview.show(square, 0, [3, 4, 5, 6])
    assert points() == 0
    preview.set_shown_in_3d(True)
    first = points()
    assert first > 0
    preview.show(square, 0, [7, 8, 9, 10])
    assert points() == first
    preview.set_shown_in_3d(True)
    assert points() > first
    preview.set_shown_in_3d(False)
    assert points() == 0


def test_it_leaves_the_scene_as_it_was(scene: slicer.vtkMRMLScene) -> None:
    volume, node, adapter, preview = opened(scene)
    preview.remove()
    count = scene.GetNumberOfNodes()
    again = adapter.open_preview(Target(volume.GetID(), node.GetID()), ["A"])
    assert scene.GetNumberOfNodes() > count
    again.remove()
    again.remove()
    assert scene.GetNumberOfNodes() == count


def test_the_application_takes_the_display_with_the_node(scene: slicer.vtkMRMLScene) -> None:
    """As measured in Slicer 5.13; removing a node twice is an error in the application's log."""
    _, _, _, preview = opened(scene)
    display = preview.node.GetDisplayNode()
    gone: list[bool] = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def leaving(caller: Any, event: str, node: Any) -> None:
        gone.append(node.GetScene() is None)

    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, leaving)
    removed = scene.AddObserver(
        scene.NodeRemovedEvent, lambda *_: scene.IsNodePresent(display) and scene.RemoveNode(display)
    )
    preview.remove()
    scene.RemoveObserver(removed)
    assert gone == [False, False]


def test_it_is_no_part_of_a_saved_scene(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    volume, node, adapter, _ = opened(scene)
    adapter.commit(Target(volume.GetID(), node.GetID()), ["A"], np.ones(GRID.shape, np.uint8), 0, [1])
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    loaded = new_scene()
    loaded.SetURL(str(tmp_path / "scene.mrml"))
    loaded.Import()
    names = {kind: [each.GetName() for each in loaded.GetNodesByClass(kind)] for kind in SAVED}
    assert names == {"vtkMRMLSegmentationNode": ["segmentation"], "vtkMRMLSegmentEditorNode": []}
    assert loaded.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode") == 1


def hierarchy_of(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    """Return the tree of the module Data."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def test_it_is_visible_and_listed_under_the_volumes_study_before_anything_changes(scene: slicer.vtkMRMLScene) -> None:
    """Slicer's plugin for segmentations needs this: it logs an error at each change of one that is not listed."""
    volume = add_volume(scene, np.zeros(GRID.shape, np.int16), GRID)
    hierarchy = hierarchy_of(scene)
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient"), "study")
    hierarchy.CreateItem(study, volume)
    node = add_segmentation(scene, volume, ["A"])
    unlisted = []

    def watch(caller: object, event: str, added: slicer.vtkMRMLNode) -> None:
        if isinstance(added, slicer.vtkMRMLSegmentationNode):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), added)  # as the application does
            kind = slicer.vtkSegmentation
            for code in (kind.SegmentAdded, kind.SegmentModified, added.DisplayModifiedEvent):
                added.AddObserver(code, lambda *_: hierarchy.GetItemByDataNode(added) or unlisted.append(added))

    watch.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    scene.AddObserver(scene.NodeAddedEvent, watch)
    preview = MRMLScene(scene).open_preview(Target(volume.GetID(), node.GetID()), ["A"])
    preview.set_opacity(0.2)
    assert not preview.node.GetHideFromEditors() and not preview.node.GetSaveWithScene()
    assert preview.node.GetName() == "FewShotSAM preview"
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(preview.node)) == study
    assert temporaryIds(scene) == [preview.node.GetID()] and unlisted == []
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(preview.node), False, True)  # the application also does this
    preview.remove()
    assert temporaryIds(scene) == []


def test_a_closed_scene_does_no_harm(scene: slicer.vtkMRMLScene) -> None:
    _, _, _, preview = opened(scene)
    scene.Clear(False)
    preview.show(np.ones((1, *GRID.slice_shape(0)), np.uint8), 0, [3])
    preview.set_opacity(1)
    preview.set_shown_in_3d(True)
    preview.remove()


@pytest.mark.parametrize("axis", [0, 2])
def test_eight_slices_of_a_large_volume_take_no_time(scene: slicer.vtkMRMLScene, axis: int) -> None:
    grid = Geometry((512, 512, 160), (0.7, 0.7, 2.0))
    _, _, _, preview = opened(scene, grid)
    classes = np.ones((8, *grid.slice_shape(axis)), np.uint8)
    took = []
    for start in (0, 8, 16, 24, 32):
        begin = time.perf_counter()
        preview.show(classes, axis, range(start, start + 8))
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.02
