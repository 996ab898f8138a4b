"""Finds nodes in the scene and says clearly which one is gone; stores a text with a segmentation node."""

from __future__ import annotations

from urllib.parse import quote, unquote

import slicer

from FewShotSAMLib.core.errors import BadInputError

ATTRIBUTE = "FewShotSAM"


def nodesOf(scene: slicer.vtkMRMLScene, className: str) -> list[slicer.vtkMRMLNode]:
    """All nodes of a class and its subclasses in their order."""
    return [scene.GetNthNodeByClass(number, className) for number in range(scene.GetNumberOfNodesByClass(className))]


def volumeNode(scene: slicer.vtkMRMLScene, volumeId: str) -> slicer.vtkMRMLVolumeNode:
    """The volume with this id; raises BadInputError where there is none."""
    node = scene.GetNodeByID(volumeId) if volumeId else None
    if not isinstance(node, slicer.vtkMRMLVolumeNode):
        raise BadInputError("The volume is no longer in the scene.", "Choose another volume, or load it again.")
    return node


def segmentationNode(scene: slicer.vtkMRMLScene, segmentationId: str) -> slicer.vtkMRMLSegmentationNode:
    """The segmentation with this id; raises BadInputError where there is none."""
    node = scene.GetNodeByID(segmentationId) if segmentationId else None
    if not isinstance(node, slicer.vtkMRMLSegmentationNode):
        raise BadInputError("The segmentation is no longer in the scene.", "Choose another one, or create a new one.")
    return node


def readNote(node: slicer.vtkMRMLSegmentationNode) -> str:
    """What `writeNote` stored, "" at first."""
    return unquote(node.GetAttribute(ATTRIBUTE) or "")


def writeNote(node: slicer.vtkMRMLSegmentationNode, text: str) -> None:
    """Store a text of any characters; "" takes it away.

    It is escaped, because scene files separate attributes by ";" and ":" and older Slicers do not escape these.
    """
    node.SetAttribute(ATTRIBUTE, quote(text, safe="") or None)
