"""The subject hierarchy: the tree of patients, studies and their data in the module Data."""

from __future__ import annotations

import slicer


def putBeside(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode, other: slicer.vtkMRMLNode) -> None:
    """List `node` under the same patient and study as `other`; both are in the scene.

    The application lists visible nodes by itself, but under no patient; where it does not, the item is made here.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    place = hierarchy.GetItemByDataNode(other)
    parent = hierarchy.GetItemParent(place) if place else hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, node)


def takeOff(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Unlist a node. The application does so by itself with one that is removed from the scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, True)
