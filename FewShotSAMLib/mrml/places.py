"""Where nodes lie in world coordinates: their own RAS coordinates, moved by their parent transforms."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.mrml.grids import arrayOfMatrix

_HOW_TO_HARDEN = (
    "Press Harden transform in the panel, or open the Data module, right-click the transform next to it and choose "
    "Harden transform; then choose the volume again."
)


def worldMatrix(node: slicer.vtkMRMLTransformableNode) -> np.ndarray | None:
    """4 × 4 array from a node's own RAS to the world's; None under a nonlinear transform.

    A nonlinear transform node must not be asked for its matrix: it returns the identity, and logs a warning each time.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    general, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    parent.GetTransformToWorld(general)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(general, linear):
        return None
    return arrayOfMatrix(linear.GetMatrix())


def checkLinear(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """`worldMatrix`; raises BadInputError if there is none, as Slicer cannot paint there."""
    matrix = worldMatrix(node)
    if matrix is None:
        raise BadInputError(
            f"'{node.GetName()}' is under the nonlinear transform '{node.GetParentTransformNode().GetName()}', such "
            "as Slicer adds to DICOM series with gantry tilt or irregular slice spacing. Nothing can be painted there.",
            _HOW_TO_HARDEN,
        )
    return matrix


def segmentationToVolume(volume: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode) -> np.ndarray:
    """4 × 4 array from the segmentation's own RAS to the volume's, so that both mean the same place in the world.

    The two may be under different transforms. Raises BadInputError if one is under a nonlinear transform, or one that
    makes the volume flat.
    """
    ofVolume, ofSegmentation = checkLinear(volume), checkLinear(segmentation)
    if np.linalg.det(ofVolume) == 0:
        raise BadInputError(
            f"The transform '{volume.GetParentTransformNode().GetName()}' makes the volume flat.", "Correct it."
        )
    if np.array_equal(ofVolume, ofSegmentation):
        return np.eye(4)  # exactly
    return np.linalg.solve(ofVolume, ofSegmentation)
