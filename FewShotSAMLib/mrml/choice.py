"""Default inputs for a user who opens the module: the most likely volume, and a segmentation of it."""

from __future__ import annotations

import numpy as np
import slicer

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.mrml.nodes import nodesOf
from FewShotSAMLib.mrml.places import segmentationToVolume
from FewShotSAMLib.mrml.segments import sceneSegments
from FewShotSAMLib.mrml.volumes import volumeGeometry

VOLUME_CLASSES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")  # but no subclasses: label maps are one
_TEMPORARY = "FewShotSAM.Temporary"  # attribute of segmentations that the user should not choose


def defaultVolumeId(scene: slicer.vtkMRMLScene) -> str:
    """The id of the volume in the slice views, preferably in the background, else of the first; "" if there is none."""
    offered = [node.GetID() for node in offeredVolumes(scene)]
    views = nodesOf(scene, "vtkMRMLSliceCompositeNode")
    shown = [view.GetBackgroundVolumeID() for view in views] + [view.GetForegroundVolumeID() for view in views]
    return next((nodeId for nodeId in [*shown, *offered] if nodeId in offered), "")


def offeredVolumes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLVolumeNode]:
    """The volumes that a user can choose, in scene order."""
    nodes = nodesOf(scene, "vtkMRMLVolumeNode")
    return [node for node in nodes if node.GetClassName() in VOLUME_CLASSES and not node.GetHideFromEditors()]


def segmentationsOf(scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode) -> list[str]:
    """Ids of the segmentations of a volume: first those that reference it, then those that lie on its grid."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    nodes = [node for node in nodesOf(scene, "vtkMRMLSegmentationNode") if _isToPaintOn(node)]
    made = [node for node in nodes if node.GetNodeReference(role) is volume]
    loaded = [node for node in nodes if node.GetNodeReference(role) is None and _liesOn(node, volume)]
    return [node.GetID() for node in made + loaded]


def markTemporary(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Mark a segmentation that users should not choose to paint on."""
    node.SetAttribute(_TEMPORARY, "1")


def temporaryIds(scene: slicer.vtkMRMLScene) -> list[str]:
    """The ids of the segmentations marked as temporary."""
    nodes = nodesOf(scene, "vtkMRMLSegmentationNode")
    return [node.GetID() for node in nodes if node.GetAttribute(_TEMPORARY)]


def _isToPaintOn(node: slicer.vtkMRMLSegmentationNode) -> bool:
    return not (node.GetHideFromEditors() or node.GetAttribute(_TEMPORARY))


def _liesOn(node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether it has voxels, and they lie on the volume's grid; nothing is copied."""
    try:
        toVolume: np.ndarray = segmentationToVolume(volume, node)
        return any(each.labels.size for each in sceneSegments(node, volumeGeometry(volume), toVolume))
    except BadInputError:
        return False
