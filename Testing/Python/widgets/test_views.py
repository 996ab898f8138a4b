"""Going to slices in real slice nodes: straight, oblique and transformed volumes."""

from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from FewShotSAMLib.widgets.views import SliceViews


def rotated(volume: Any, degrees: float) -> None:
    transform = vtk.vtkTransform()
    transform.RotateX(degrees)
    matrix = vtk.vtkMatrix4x4()
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


def test_a_jump_goes_to_the_middle_of_the_slice(scene: Any) -> None:
    SliceViews().jumpTo(scene.volume.GetID(), 0, 5)
    assert scene.views[0].GetSliceOffset() == pytest.approx(7 + 5 * 3)


def test_an_oblique_volume(scene: Any) -> None:
    rotated(scene.volume, 20)
    views = SliceViews()
    views.jumpTo(scene.volume.GetID(), 0, 11)
    assert views.currentSlice(scene.volume.GetID(), 0) is not None
    scene.views[0].RotateToVolumePlane(scene.volume)
    views.jumpTo(scene.volume.GetID(), 0, 11)
    assert views.currentSlice(scene.volume.GetID(), 0) == 11


@pytest.mark.parametrize("degrees", [-20, 3, 40])
def test_a_tilted_volume_is_noticed_and_the_views_are_rotated(scene: Any, degrees: float) -> None:
    views, volumeId = SliceViews(), scene.volume.GetID()
    rotated(scene.volume, degrees)
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


def test_a_transformed_volume(scene: Any) -> None:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 50.0)
    transform.SetMatrixTransformToParent(matrix)
    scene.volume.SetAndObserveTransformNodeID(transform.GetID())
    views = SliceViews()
    views.jumpTo(scene.volume.GetID(), 0, 5)
    assert scene.views[0].GetSliceOffset() == pytest.approx(57 + 15)
    assert views.currentSlice(scene.volume.GetID(), 0) == 5


def test_outside_the_volume_no_slice_is_shown(scene: Any) -> None:
    scene.views[0].SetSliceOffset(500)
    assert SliceViews().currentSlice(scene.volume.GetID(), 0) is None


def test_a_volume_that_is_gone_or_without_voxels(scene: Any) -> None:
    views = SliceViews()
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert views.sliceCount(empty.GetID(), 0) == 0
    assert views.currentSlice("vtkMRMLScalarVolumeNode99", 0) is None
    views.jumpTo("vtkMRMLScalarVolumeNode99", 0, 1)


def test_the_view_that_looks_most_directly_counts(scene: Any) -> None:
    tilted = scene.views[0]
    matrix = tilted.GetSliceToRAS()
    angle = np.radians(15)
    for row, column, value in (
        (1, 1, np.cos(angle)),
        (2, 1, np.sin(angle)),
        (1, 2, -np.sin(angle)),
        (2, 2, np.cos(angle)),
    ):
        matrix.SetElement(row, column, value)
    tilted.UpdateMatrices()
    scene.views[1].SetOrientationToAxial()
    scene.views[1].SetSliceOffset(7 + 3 * 21)
    assert SliceViews().currentSlice(scene.volume.GetID(), 0) == 21
