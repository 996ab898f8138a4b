"""Hardens nonlinear transforms: resamples a volume to where it is shown, and its segmentation with it."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from FewShotSAMLib.mrml.grids import imageOfArray, rasMatrix
from FewShotSAMLib.mrml.places import segmentationToVolume, worldMatrix
from FewShotSAMLib.mrml.segments import labelmapOf, segmentIds
from FewShotSAMLib.mrml.volumes import volumeGeometry


def hardenTransforms(
    volume: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode | None = None
) -> None:
    """Harden nonlinear transforms of both nodes; what is painted stays where it is in world coordinates.

    Slicer resamples the volume to a grid that can be shifted by a fraction of a voxel, so the segmentation follows it.
    """
    isMoved = worldMatrix(volume) is None
    if isMoved:
        volume.HardenTransform()
    if segmentation is None:
        return
    toWorld = None
    if worldMatrix(segmentation) is None:
        # HardenTransform would crop an oblique segmentation, as it takes its extent from two corners of a box.
        toWorld = vtk.vtkGeneralTransform()
        segmentation.GetParentTransformNode().GetTransformToWorld(toWorld)
        segmentation.SetAndObserveTransformNodeID(None)
    if isMoved or toWorld is not None:
        _putOnGrid(segmentation, volume, toWorld)


def _putOnGrid(
    segmentation: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLVolumeNode,
    transform: vtk.vtkAbstractTransform | None,
) -> None:
    """Apply a transform to what is painted, and store it on the volume's grid, as Specify geometry would."""
    geometry = volumeGeometry(volume)
    matrix = np.linalg.solve(segmentationToVolume(volume, segmentation), rasMatrix(geometry))
    images = {}
    for segmentId in segmentIds(segmentation):
        image = labelmapOf(segmentation, segmentId)
        if image is not None:
            images[id(image)] = image  # several segments may share it
    reference = imageOfArray(np.zeros(geometry.shape, np.uint8), matrix)
    wasModifying = segmentation.StartModify()
    for image in images.values():
        resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
        resample(image, reference, image, False, False, transform)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().InvalidateNonSourceRepresentations()
    segmentation.EndModify(wasModifying)
