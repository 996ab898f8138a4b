"""Going to slices in real slice nodes: straight, oblique and transformed volumes."""

from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from harness.places import LINEAR, add_transform, bend, matrix_of

from FewShotSAMLib.widgets.views import SliceViews


def rotated(volume: Any, degrees: float) -> None:
    transform, matrix = vtk.vtkTransform(), vtk.vtkMatrix4x4()
    transform.RotateX(degrees)
    volume.GetIJKToRASMatrix(matrix)
    vtk.vtkMatrix4x4.Multiply4x4(transform.GetMatrix(), matrix, matrix)
    volume.SetIJKToRASMatrix(matrix)


@pytest.mark.parametrize(("axis", "view", "last"), [(0, 0, 39), (1, 2, 29), (2, 1, 19)])
def test_a_jump_shows_the_slice_and_leaves_the_other_views(scene: Any, axis: int, view: int, last: int) -> None:
    views = SliceViews()
    others = [node for node in scene.views if node is not scene.views[view]]
    before = [node.GetSliceOffset() for node in others]
    for index in (0, 7, last):
        views.jumpTo(scene.volume.GetID(), axis, index)
        assert views.currentSlice(scene.volume.GetID(), axis) == index
    assert [node.GetSliceOffset() for node in others] == before
    assert views.sliceCount(scene.volume.GetID(), axis) == last + 1


@pytest.mark.parametrize("degrees", [-20, 3, 40])
def test_a_tilted_volume_is_noticed_and_the_views_are_rotated(scene: Any, degrees: float) -> None:
    views, volumeId = SliceViews(), scene.volume.GetID()
    rotated(scene.volume, degrees)
    views.jumpTo(volumeId, 0, 11)
    assert (views.currentSlice(volumeId, 0) is not None) == (degrees < 30), "a view may be a little askew"
    for shown in (0, 1):
        for view in scene.views:
            view.SetMappedInLayout(shown)
        assert views.areTilted(volumeId) == bool(shown)
    views.rotateTo(volumeId)
    assert not views.areTilted(volumeId)
    for axis, last in enumerate((39, 29, 19)):
        views.jumpTo(volumeId, axis, last)
        assert views.currentSlice(volumeId, axis) == last


def test_a_straight_volume_is_not_tilted(scene: Any) -> None:
    for view in scene.views:
        view.SetMappedInLayout(1)
    assert not SliceViews().areTilted(scene.volume.GetID())
    assert not SliceViews().areTilted("vtkMRMLScalarVolumeNode99")
    rotated(scene.volume, 90)
    assert not SliceViews().areTilted(scene.volume.GetID())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", LINEAR)
def test_every_slice_is_found_where_it_lies_in_the_world(scene: Any, name: str, axis: int) -> None:
    """Even if scaling shears an oblique volume: then the direction to the next slice is not the slices' normal."""
    rotated(scene.volume, 20)
    parent = add_transform(slicer.mrmlScene, LINEAR[name])
    scene.volume.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    views, volumeId = SliceViews(), scene.volume.GetID()
    ijkToRas = vtk.vtkMatrix4x4()
    scene.volume.GetIJKToRASMatrix(ijkToRas)
    toWorld = matrix_of(LINEAR[name]) @ np.reshape(ijkToRas.GetData(), (4, 4))
    axes = toWorld[:3, [index for index in (0, 1, 2) if index != 2 - axis]]
    normal = np.cross(*axes.T)
    view = scene.views[1]
    view.SetSliceToRASByNTP(*normal, *axes[:, 0], *toWorld[:3, 3], 0)
    for each in scene.views:
        each.SetMappedInLayout(each is view)
    assert not views.areTilted(volumeId)
    for index in (0, 7, 19):
        views.jumpTo(volumeId, axis, index)
        assert views.currentSlice(volumeId, axis) == index
        ijk = np.zeros(4)
        ijk[[2 - axis, 3]] = index, 1
        seen = np.array([view.GetSliceToRAS().GetElement(row, 3) for row in range(3)])
        assert (toWorld @ ijk)[:3] @ normal == pytest.approx(seen @ normal)


def test_a_bent_volume_has_no_slices_in_the_views_and_nobody_is_asked_for_its_matrix(scene: Any) -> None:
    """Slicer answers such a request with the identity and a warning, which fails this test; the panel asks often."""
    bend(scene.volume, np.outer(np.arange(40), (0.0, 0.5, 0.7)))
    views, volumeId = SliceViews(), scene.volume.GetID()
    before = [view.GetSliceOffset() for view in scene.views]
    for view in scene.views:
        view.SetMappedInLayout(1)
    views.jumpTo(volumeId, 0, 8)
    views.rotateTo(volumeId)
    assert views.currentSlice(volumeId, 0) is None and not views.areTilted(volumeId)
    assert [view.GetSliceOffset() for view in scene.views] == before
    scene.volume.HardenTransform()
    views.jumpTo(volumeId, 0, 8)
    assert views.currentSlice(volumeId, 0) == 8


def test_no_slice_is_shown_of_a_volume_that_is_elsewhere_flat_gone_or_without_voxels(scene: Any) -> None:
    views, volumeId = SliceViews(), scene.volume.GetID()
    before = scene.views[0].GetSliceOffset()
    scene.views[0].SetSliceOffset(500)
    assert views.currentSlice(volumeId, 0) is None
    scene.views[0].SetSliceOffset(before)
    parent = add_transform(slicer.mrmlScene, [np.diag([1.0, 1.0, 0.0, 1.0])])
    scene.volume.SetAndObserveTransformNodeID(parent.GetID())
    assert views.currentSlice(volumeId, 0) is None
    assert views.currentSlice("vtkMRMLScalarVolumeNode99", 0) is None
    views.jumpTo("vtkMRMLScalarVolumeNode99", 0, 1)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert views.sliceCount(empty.GetID(), 0) == 0


def test_the_view_that_looks_most_directly_counts(scene: Any) -> None:
    tilted = scene.views[0]
    matrix = tilted.GetSliceToRAS()
    angle = np.radians(15)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for (row, column), value in np.ndenumerate(turn):
        matrix.SetElement(row + 1, column + 1, value)
    tilted.UpdateMatrices()
    scene.views[1].SetOrientationToAxial()
    scene.views[1].SetSliceOffset(7 + 3 * 21)
    assert SliceViews().currentSlice(scene.volume.GetID(), 0) == 21
