"""Converts the geometry of VTK images to that of `core`: LPS instead of RAS, arrays (k, j, i) instead of extents."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_RIGHT_ANGLE_TOLERANCE = 1e-3  # of the cosine; headers in float32 stay far below


def arrayOfMatrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """4 × 4 float64 array of a VTK matrix."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrixOfArray(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """VTK matrix of a 4 × 4 array."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(array.ravel().tolist())
    return matrix


def geometryOfMatrix(
    indexToRas: np.ndarray, size: tuple[int, int, int], first: tuple[int, int, int] = (0, 0, 0)
) -> Geometry:
    """Geometry of the `size` voxels (i, j, k) of a lattice in RAS, starting at index `first` (i, j, k).

    Raises BadInputError if its axes are not at right angles: hardly any program can read such a volume.
    """
    lps = _RAS_TO_LPS @ indexToRas
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / np.where(spacing > 0, spacing, 1)
    if np.abs(direction.T @ direction - np.eye(3)).max() > _RIGHT_ANGLE_TOLERANCE:
        raise BadInputError(
            "The axes of the volume are not at right angles to each other.",
            "Resample it, in 3D Slicer with the Resample Scalar Volume module, or choose another volume.",
        )
    origin = lps @ [*first, 1.0]
    x, y, z = (float(length) for length in spacing)
    left, posterior, superior = (float(value) for value in origin[:3])
    return Geometry(size, (x, y, z), (left, posterior, superior), tuple(direction.ravel().tolist()))


def rasMatrix(geometry: Geometry) -> np.ndarray:
    """4 × 4 array that maps an index (i, j, k, 1) to RAS in mm."""
    return _RAS_TO_LPS @ geometry.index_to_physical()


def isEmpty(image: vtk.vtkImageData | None) -> bool:
    """Whether an image has no voxels."""
    if image is None or image.GetPointData().GetScalars() is None:
        return True
    extent = image.GetExtent()
    return any(extent[2 * axis] > extent[2 * axis + 1] for axis in range(3))


def imageToRas(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """4 × 4 array that maps an index of a labelmap (its extent need not begin at 0) to RAS in mm."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return arrayOfMatrix(matrix)


def geometryOfImage(image: slicer.vtkOrientedImageData, moved: np.ndarray) -> Geometry:
    """Geometry of the voxels of a labelmap, which must not be empty, moved by a 4 × 4 array in RAS."""
    extent = image.GetExtent()
    i, j, k = (extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3))
    return geometryOfMatrix(moved @ imageToRas(image), (i, j, k), (extent[0], extent[2], extent[4]))


def viewOfImage(image: vtk.vtkImageData) -> np.ndarray:
    """The voxels of an image, (k, j, i) or (k, j, i, components), as a view of its memory."""
    scalars = image.GetPointData().GetScalars()
    shape = image.GetDimensions()[::-1]
    if scalars.GetNumberOfComponents() > 1:
        shape = (*shape, scalars.GetNumberOfComponents())
    return vtk_to_numpy(scalars).reshape(shape)


def imageOfArray(
    array: np.ndarray, indexToRas: np.ndarray, first: tuple[int, int, int] = (0, 0, 0)
) -> slicer.vtkOrientedImageData:
    """A labelmap that owns a copy of `array` (k, j, i); `first`: index (k, j, i) of its first voxel on the lattice."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(matrixOfArray(indexToRas))
    k, j, i = first
    depth, rows, columns = array.shape
    image.SetExtent(i, i + columns - 1, j, j + rows - 1, k, k + depth - 1)
    scalars = numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    scalars.SetName("ImageScalars")  # as vtkImageData names what it allocates
    image.GetPointData().SetScalars(scalars)
    return image
