"""Transforms for tests, and positions in the world, computed with Slicer's classes and numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK
import slicer
import vtk
from scipy.spatial import KDTree
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from FewShotSAMLib.core.geometry import Geometry
from harness.scene import LABELMAP, RAS, add_segmentation, vtk_matrix

_ROTATION = SimpleITK.VersorTransform((0.3, -0.5, 0.8), 0.6).GetMatrix()
TURN = np.block([[np.reshape(_ROTATION, (3, 3)), np.zeros((3, 1))], [np.zeros(3), np.ones(1)]])
SHIFT = np.array([[1, 0, 0, 13.3], [0, 1, 0, -7.7], [0, 0, 1, 21.9], [0, 0, 0, 1]])
SCALING = np.diag([1.3, 0.8, 1.1, 1.0])  # shears the axes of an oblique volume

OBLIQUE = SimpleITK.Euler3DTransform((0, 0, 0), 0.3, -0.5, 0.8).GetMatrix()
GRID = Geometry((13, 11, 9), (0.7, 1.1, 4.0), (-12.5, 30.25, -801.125), OBLIQUE)

LINEAR: dict[str, list[np.ndarray]] = {  # each under the next
    "no transform": [],
    "shift": [SHIFT],
    "rotation": [TURN],
    "scaling": [SCALING],
    "rotation under shift": [TURN, SHIFT],
}


def add_transform(scene: slicer.vtkMRMLScene, matrices: list[np.ndarray]) -> slicer.vtkMRMLTransformNode | None:
    """Add a linear transform for each matrix, each under the next; return the first, None if there is no matrix."""
    found = None
    for matrix in reversed(matrices):
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "transform")
        node.SetMatrixTransformToParent(vtk_matrix(matrix))
        node.SetAndObserveTransformNodeID(found.GetID() if found is not None else None)
        found = node
    return found


def matrix_of(matrices: list[np.ndarray]) -> np.ndarray:
    """Return what they do together."""
    result = np.eye(4)
    for matrix in matrices:
        result = matrix @ result
    return result


def bend(volume: slicer.vtkMRMLVolumeNode, vectors: np.ndarray) -> slicer.vtkMRMLTransformNode:
    """Put a volume under a grid transform, as Slicer's DICOM reader does for gantry tilt and irregular spacing.

    See DICOMScalarVolumePlugin.py: the volume keeps a regular grid, and the transform moves it to its slices' places.
    vectors: (K, 3) mm RAS by which each slice is moved, given at four corners of each slice, in the volume's axes.
    """
    columns, rows, slices = volume.GetImageData().GetDimensions()
    grid = vtk.vtkImageData()
    grid.SetOrigin(*volume.GetOrigin())
    grid.SetDimensions(2, 2, slices)
    i, j, k = volume.GetSpacing()
    grid.SetSpacing(i * columns, j * rows, k)
    corners = np.repeat(np.asarray(vectors, float), 4, axis=0)
    grid.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(corners), deep=True))
    directions = vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(directions)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetGridDirectionMatrix(directions)
    transform.SetDisplacementGridData(grid)
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition transform")
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


def add_in_editor(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode, names: list[str], parent: Any = None
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation as Slicer's Segment Editor does: under no transform, unless the user put it under `parent`."""
    node = add_segmentation(scene, volume, [])
    node.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in names:
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


def paint_in_world(
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLVolumeNode,
    name: str,
    mask: np.ndarray,
    to_world: np.ndarray,
) -> None:
    """Paint voxels (K, J, I) bool of a grid that `to_world` maps to the world, as Slicer's Paint does.

    Paint maps points in the world to voxels of the segmentation's reference grid; points beyond that grid are lost.
    """
    scene = node.GetScene()
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(node)
    editor.SetAndObserveSourceVolumeNode(volume)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(editor)
    assert logic.ResetModifierLabelmapToDefault()
    image = logic.GetModifierLabelmap()
    image.GetWorldToImageMatrix(matrix := vtk.vtkMatrix4x4())
    to_index = _array(matrix) @ _from_world(node) @ to_world
    indices = np.rint(points_of(mask, to_index)).astype(int) - image.GetExtent()[::2]
    indices = indices[((indices >= 0) & (indices < image.GetDimensions())).all(axis=1)]
    scalars = image.GetPointData().GetScalars()
    vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])[tuple(indices[:, ::-1].T)] = 1
    scalars.Modified()
    logic.ModifySegmentByLabelmap(node, name, image, logic.ModificationModeAdd, image.GetExtent(), False, False)
    scene.RemoveNode(editor)


def _from_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformFromWorld(matrix)
    return _array(matrix)


def _array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.reshape(matrix.GetData(), (4, 4))


def index_to_world(geometry: Geometry, matrices: list[np.ndarray]) -> np.ndarray:
    """Return the 4 × 4 array from a grid's index to the world, with its parent linear transforms."""
    return matrix_of(matrices) @ RAS @ geometry.index_to_physical()


def points_of(mask: np.ndarray, to_world: np.ndarray) -> np.ndarray:
    """Return (N, 3) mm: the positions in the world of the voxels of a mask (K, J, I)."""
    return np.argwhere(mask)[:, ::-1] @ to_world[:3, :3].T + to_world[:3, 3]


def points_in_world(node: slicer.vtkMRMLSegmentationNode, name: str) -> np.ndarray:
    """Return (N, 3) mm: the positions in the world of a segment's stored voxels, each through its transforms."""
    segment = node.GetSegmentation().GetSegment(name)
    image = segment.GetRepresentation(LABELMAP)
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None:
        return np.zeros((0, 3))
    voxels = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]) == segment.GetLabelValue()
    image.GetImageToWorldMatrix(to_node := vtk.vtkMatrix4x4())
    found = np.zeros((np.count_nonzero(voxels), 3))
    for moved, index in zip(found, np.argwhere(voxels)[:, ::-1] + image.GetExtent()[::2], strict=True):
        node.TransformPointToWorld(to_node.MultiplyPoint((*index, 1.0))[:3], moved)
    return found


def same_places(first: np.ndarray, second: np.ndarray, tolerance: float = 0.01) -> bool:
    """Return whether two sets of points, in mm, are the same, in any order."""
    if first.shape != second.shape or not len(first):
        return first.shape == second.shape
    distances, nearest = KDTree(second).query(first, p=np.inf)
    return bool(len(set(nearest)) == len(first) and distances.max() <= tolerance)
