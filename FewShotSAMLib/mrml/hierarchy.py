"""The subject hierarchy: the tree of patients, studies and their data in the module Data."""

from __future__ import annotations

import slicer

from FewShotSAMLib.core.stored import modality_of

MODALITY = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()


def modalityOf(node: slicer.vtkMRMLNode) -> str:
    """DICOM's modality of a volume: from its item in the tree, where the application's DICOM reader notes it, or else
    from the node's own attribute; "" where neither knows."""
    scene = node.GetScene()
    hierarchy = None if scene is None else scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    noted = ""
    if hierarchy is not None and (item := hierarchy.GetItemByDataNode(node)):
        noted = hierarchy.GetItemAttribute(item, MODALITY)
    return modality_of(noted or node.GetAttribute(MODALITY))


def putBeside(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode, other: slicer.vtkMRMLNode) -> None:
    """List `node` under the same patient and study as `other`; both are in the scene.

    The application lists every visible node as soon as it is added, but under no patient, and unlists it when it is
    removed. Without the application there is no such list.
    """
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item, place = (hierarchy.GetItemByDataNode(each) if hierarchy is not None else 0 for each in (node, other))
    if item and place:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(place))
