"""Hardens transforms that are not linear: a volume is resampled to where it is shown, and its segmentation with it."""

from __future__ import annotations

import numpy as np
import slicer

from FewShotSAMLib.mrml.grids import emptyImage, geometryOfMatrix, rasMatrix
from FewShotSAMLib.mrml.places import segmentationToVolume, worldMatrix
from FewShotSAMLib.mrml.segments import labelmapOf, segmentIds
from FewShotSAMLib.mrml.volumes import volumeGeometry


def hardenTransforms(
    volume: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode | None = None
) -> None:
    """Leave neither node under a transform that is not linear; what is painted stays where it lies in the world.

    Slicer resamples the volume to a grid that can be shifted by less than a voxel, so the segmentation is put on it.
    """
    nodes = [node for node in (volume, segmentation) if node is not None and worldMatrix(node) is None]
    for node in nodes:
        node.HardenTransform()
    if nodes and segmentation is not None:
        _putOnGrid(segmentation, volume)


def _putOnGrid(segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLVolumeNode) -> None:
    """What Specify geometry in the Segment Editor does, with the volume as source."""
    geometry = volumeGeometry(volume)
    matrix = np.linalg.solve(segmentationToVolume(volume, segmentation), rasMatrix(geometry))
    images = {}
    for segmentId in segmentIds(segmentation):
        image = labelmapOf(segmentation, segmentId)
        if image is not None:
            images[id(image)] = image  # several segments may share it
    reference = emptyImage(geometryOfMatrix(matrix, geometry.size))
    wasModifying = segmentation.StartModify()
    for image in images.values():
        resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
        resample(image, reference, image, False, False)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().InvalidateNonSourceRepresentations()
    segmentation.EndModify(wasModifying)
