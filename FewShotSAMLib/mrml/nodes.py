"""Finds nodes in the scene and reports missing ones; their notes, and their place in the subject hierarchy."""

from __future__ import annotations

from urllib.parse import quote, unquote

import slicer

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.stored import modality_of

ATTRIBUTE = "FewShotSAM"
MODALITY = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()


def nodesOf(scene: slicer.vtkMRMLScene, className: str) -> list[slicer.vtkMRMLNode]:
    """All nodes of a class and its subclasses, in scene order."""
    return [scene.GetNthNodeByClass(number, className) for number in range(scene.GetNumberOfNodesByClass(className))]


def volumeNode(scene: slicer.vtkMRMLScene, volumeId: str) -> slicer.vtkMRMLVolumeNode:
    """The volume with this id; raises BadInputError if there is none."""
    node = scene.GetNodeByID(volumeId) if volumeId else None
    if not isinstance(node, slicer.vtkMRMLVolumeNode):
        raise BadInputError("The volume is no longer in the scene.", "Choose another volume, or load it again.")
    return node


def segmentationNode(scene: slicer.vtkMRMLScene, segmentationId: str) -> slicer.vtkMRMLSegmentationNode:
    """The segmentation with this id; raises BadInputError if there is none."""
    node = scene.GetNodeByID(segmentationId) if segmentationId else None
    if not isinstance(node, slicer.vtkMRMLSegmentationNode):
        raise BadInputError("The segmentation is no longer in the scene.", "Choose another one, or create a new one.")
    return node


def readNote(node: slicer.vtkMRMLSegmentationNode) -> str:
    """What `writeNote` stored, "" at first."""
    return unquote(node.GetAttribute(ATTRIBUTE) or "")


def writeNote(node: slicer.vtkMRMLSegmentationNode, text: str) -> None:
    """Store a text of any characters; "" removes it.

    It is escaped, because scene files separate attributes by ";" and ":", and older Slicers do not escape these.
    """
    node.SetAttribute(ATTRIBUTE, quote(text, safe="") or None)


def modalityOf(node: slicer.vtkMRMLNode) -> str:
    """The DICOM modality of a volume: from its subject hierarchy item, where the application's DICOM reader stores it,
    or else from the node's own attribute; "" if neither has it."""
    scene = node.GetScene()
    hierarchy = None if scene is None else scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    noted = ""
    if hierarchy is not None and (item := hierarchy.GetItemByDataNode(node)):
        noted = hierarchy.GetItemAttribute(item, MODALITY)
    return modality_of(noted or node.GetAttribute(MODALITY))


def putBeside(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode, other: slicer.vtkMRMLNode) -> None:
    """Put `node` under the same patient and study as `other` in the subject hierarchy; both are in the scene.

    The application adds every visible node to the hierarchy as soon as it is in the scene, but under no patient, and
    removes it with the node. Without the application there is no hierarchy.
    """
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item, place = (hierarchy.GetItemByDataNode(each) if hierarchy is not None else 0 for each in (node, other))
    if item and place:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(place))
