"""Gives numpy access to volumes of the scene, without copying them."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml.grids import arrayOfMatrix, geometryOfMatrix, isEmpty, viewOfImage
from FewShotSAMLib.mrml.nodes import modalityOf
from FewShotSAMLib.workflow.scene import SceneVolume

_COLOR_COMPONENTS = (3, 4)


def volumeGeometry(node: slicer.vtkMRMLVolumeNode) -> Geometry:
    """Geometry of a volume in LPS, without its parent transform; raises BadInputError if it has no voxels."""
    image = node.GetImageData()
    if isEmpty(image):
        raise BadInputError(f"Volume '{node.GetName()}' has no voxels.", "Load it again, or choose another volume.")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    extent = image.GetExtent()
    i, j, k = image.GetDimensions()
    return geometryOfMatrix(arrayOfMatrix(matrix), (i, j, k), (extent[0], extent[2], extent[4]))


def sceneVolume(node: slicer.vtkMRMLVolumeNode) -> SceneVolume:
    """Voxels, geometry and name of a volume.

    Raises BadInputError if it has no voxels, has several values per voxel that are not colours (a time series, a
    diffusion or vector volume), or if its axes are not at right angles.
    """
    geometry = volumeGeometry(node)
    voxels = viewOfImage(node.GetImageData())
    if voxels.ndim == 4 and not (voxels.shape[3] in _COLOR_COMPONENTS and voxels.dtype == np.uint8):
        raise BadInputError(
            f"Volume '{node.GetName()}' has {voxels.shape[3]} values per voxel and is not a colour volume.",
            "Choose a volume with one value per voxel; from a time series, extract one volume first.",
        )
    image, modality = node.GetImageData(), modalityOf(node)
    version = hash((image.GetMTime(), image.GetPointData().GetScalars().GetMTime(), geometry, modality))
    return SceneVolume(node.GetID(), node.GetName() or "", voxels, geometry, image, version, _window(node), modality)


def _window(node: slicer.vtkMRMLVolumeNode) -> tuple[float, float] | None:
    """The values that the views show as black and white; None for colours, and if the volume was never shown."""
    display = node.GetDisplayNode()
    if not isinstance(display, slicer.vtkMRMLScalarVolumeDisplayNode):
        return None
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    return (low, high) if low < high else None
