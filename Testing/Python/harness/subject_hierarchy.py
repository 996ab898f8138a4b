"""What Slicer's Qt plug-ins of the subject hierarchy do when nodes and segments are added, changed and removed.

As qSlicerSubjectHierarchyPluginLogic: a displayable or transform node gets an item, unless it is hidden from editors or
being imported, and loses it with the node. As qSlicerSegmentationsModule: every segmentation is observed, even hidden
ones, and each event of one without an item is a line in the application's error log.
"""

from typing import Any

import slicer
import vtk

from harness import problems

_WATCHED = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkMRMLSegmentationNode.DisplayModifiedEvent,
)
_SEGMENT = slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName()
_LISTED = ("vtkMRMLDisplayableNode", "vtkMRMLTransformNode", "vtkMRMLTextNode", "vtkMRMLTableNode")


class Plugins:
    """Watch a scene for as long as it lives."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._watch(scene.NodeAddedEvent, self._onAdded)
        self._watch(scene.NodeAboutToBeRemovedEvent, self._onRemoved)
        self._watch(scene.EndImportEvent, self._onImported)

    def _watch(self, event: int, call: Any) -> None:
        def called(scene: Any, name: str, node: Any = None) -> None:
            call(node)

        called.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
        self._scene.AddObserver(event, called)

    @property
    def _hierarchy(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _onAdded(self, node: Any) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        if node.IsA("vtkMRMLSegmentationNode"):
            for event in _WATCHED:
                node.AddObserver(event, self._onSegmentation)
        if not self._scene.IsImporting():
            self._list(node)

    def _list(self, node: Any) -> None:
        if node.GetHideFromEditors() or not any(node.IsA(name) for name in _LISTED):
            return
        if not self._hierarchy.GetItemByDataNode(node):
            self._hierarchy.CreateItem(self._hierarchy.GetSceneItemID(), node)
        if node.IsA("vtkMRMLSegmentationNode"):
            self._listSegments(node)

    def _onRemoved(self, node: Any) -> None:
        if self._scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        item = self._hierarchy.GetItemByDataNode(node)
        if item:
            self._hierarchy.RemoveItem(item, False, False)

    def _onImported(self, _: Any) -> None:
        for node in list(self._scene.GetNodes()):
            if not node.IsA("vtkMRMLSubjectHierarchyNode"):
                self._list(node)

    def _onSegmentation(self, node: Any, event: str) -> None:
        if node.GetScene() is None or self._scene.IsImporting() or self._scene.IsClosing():
            return
        if not self._hierarchy.GetItemByDataNode(node):
            problems.report(f"Unable to find subject hierarchy item for segmentation node {node.GetName()} ({event})")
            return
        self._listSegments(node)

    def _listSegments(self, node: Any) -> None:
        """Add one item below the segmentation's for each segment, with its name."""
        hierarchy, parent = self._hierarchy, self._hierarchy.GetItemByDataNode(node)
        children: list[int] = []
        hierarchy.GetItemChildren(parent, children)
        listed = {hierarchy.GetItemAttribute(child, _SEGMENT): child for child in children}
        segmentation = node.GetSegmentation()
        for number in range(segmentation.GetNumberOfSegments()):
            segmentId, name = segmentation.GetNthSegmentID(number), segmentation.GetNthSegment(number).GetName() or ""
            item = listed.pop(segmentId, None)
            if item is None:
                branch = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyVirtualBranchAttributeName()
                hierarchy.SetItemAttribute(
                    hierarchy.CreateHierarchyItem(parent, name, branch, number), _SEGMENT, segmentId
                )
            elif hierarchy.GetItemName(item) != name:
                hierarchy.SetItemName(item, name)
        for item in listed.values():
            hierarchy.RemoveItem(item, False, False)
