"""Volumes as Slicer's DICOM reader leaves them: a series of irregular geometry hangs under a grid transform.

As DICOMScalarVolumePlugin.py does by default: the volume keeps a regular grid, and a transform with one vector at each
corner of each slice maps it to where the slices really lie.
"""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def tilted(slices: int, spacing: float, degrees: float) -> np.ndarray:
    """(K, 3) mm RAS: where a gantry tilt puts the slices of a series along S, beside a regular stack of them."""
    shifts = np.zeros((slices, 3))
    shifts[:, 1] = np.arange(slices) * spacing * np.tan(np.radians(degrees))
    return shifts


def irregular(slices: int, spacing: float, gap: float) -> np.ndarray:
    """(K, 3) mm RAS: a series whose upper half lies `gap` mm higher."""
    shifts = np.zeros((slices, 3))
    shifts[slices // 2 :, 2] = gap
    return shifts * np.sign(spacing)


def hangUnderAcquisitionTransform(
    volume: slicer.vtkMRMLVolumeNode, shifts: np.ndarray
) -> slicer.vtkMRMLGridTransformNode:
    """Hang a volume under a new grid transform that moves its slices. shifts: (K, 3) mm RAS."""
    scene = volume.GetScene()
    node = slicer.vtkMRMLGridTransformNode()
    node.SetName(scene.GenerateUniqueName(f"{volume.GetName()} acquisition transform"))
    node = scene.AddNode(node)
    columns, rows, slices = volume.GetImageData().GetDimensions()
    spacing, grid = volume.GetSpacing(), vtk.vtkImageData()
    grid.SetOrigin(*volume.GetOrigin())
    grid.SetDimensions(2, 2, slices)
    grid.SetSpacing(spacing[0] * columns, spacing[1] * rows, spacing[2])
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    vtk_to_numpy(grid.GetPointData().GetScalars()).reshape(slices, 2, 2, 3)[:] = shifts[:, None, None]
    directions, transform = vtk.vtkMatrix4x4(), slicer.vtkOrientedGridTransform()
    volume.GetIJKToRASDirectionMatrix(directions)
    transform.SetGridDirectionMatrix(directions)
    transform.SetDisplacementGridData(grid)
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node
