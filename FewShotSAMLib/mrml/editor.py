"""The Segment Editor's settings and undo history: the user's own if there is a Segment Editor, else ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import slicer

from FewShotSAMLib.mrml.nodes import nodesOf

_OUR_NODE_TAG = "FewShotSAMCommit"  # our own node in the scene, never the panel's, which has the user's settings
_OUR_UNDO_STATES = 10  # as many as Slicer's own editor keeps

EVERYWHERE = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
OVERWRITE_ALL = slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments
OVERWRITE_NONE = slicer.vtkMRMLSegmentEditorNode.OverwriteNone


class SegmentEditor(Protocol):
    """What is used of a qMRMLSegmentEditorWidget: its logic is not accessible, so slots give access to its history."""

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        """The node with the user's masking and overwrite settings."""

    def saveStateForUndo(self) -> None:
        """Save the state of the selected segmentation for the user's Undo button."""

    def undo(self) -> None:
        """Do what the Undo button does."""


@dataclass(frozen=True)
class EditSettings:
    """Where painting may change voxels, and what happens to other segments there; values are those of Slicer's nodes.

    intensityRange: the lowest and highest value of the volume where painting is allowed; None for everywhere.
    """

    maskMode: int = EVERYWHERE
    maskSegmentId: str = ""
    overwriteMode: int = OVERWRITE_NONE
    intensityRange: tuple[float, float] | None = None


class Editor:
    """Changes segments through Slicer's Segment Editor logic, as effects do, with undo."""

    def __init__(self, scene: slicer.vtkMRMLScene, widget: SegmentEditor | None = None) -> None:
        self._scene = scene
        self._widget = widget
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetMaximumNumberOfUndoStates(_OUR_UNDO_STATES)
        self._logic.SetVerbose(True)
        self._lastByWidget = widget is not None

    def settings(self, segmentation: slicer.vtkMRMLSegmentationNode) -> EditSettings:
        """The user's settings for this segmentation.

        Those of the widget, else of any other editor in the scene that has it selected. If there is none, the user has
        not chosen what may be overwritten, so no other segment is.
        """
        node = self._userNode(segmentation)
        if node is None:
            return EditSettings()
        intensityRange = None
        if node.GetSourceVolumeIntensityMask():
            low, high = node.GetSourceVolumeIntensityMaskRange()
            intensityRange = (low, high)
        return EditSettings(node.GetMaskMode(), node.GetMaskSegmentID() or "", node.GetOverwriteMode(), intensityRange)

    def saveState(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        """Save the segmentation's state for undo: in the user's own history if the widget shows this segmentation."""
        self._lastByWidget = self._widgetShows(segmentation)
        if self._widget is not None and self._lastByWidget:
            self._widget.saveStateForUndo()
            return
        self._ownNode(segmentation)
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        """Undo the last change; does nothing if there is none."""
        if self._widget is not None and self._lastByWidget:
            self._widget.undo()
        elif self._logic.CanUndo():
            self._logic.Undo()

    def add(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        labelmap: slicer.vtkOrientedImageData,
        overwriteMode: int,
    ) -> None:
        """Paint a segment where `labelmap` is not 0."""
        self._ownNode(segmentation).SetOverwriteMode(overwriteMode)
        mode, extent = slicer.vtkSlicerSegmentEditorLogic.ModificationModeAdd, labelmap.GetExtent()
        self._logic.ModifySegmentByLabelmap(segmentation, segmentId, labelmap, mode, extent, False, False)

    def remove(
        self, segmentation: slicer.vtkMRMLSegmentationNode, segmentId: str, labelmap: slicer.vtkOrientedImageData
    ) -> None:
        """Erase a segment where `labelmap` is not 0; no other segment changes."""
        self._ownNode(segmentation).SetOverwriteMode(OVERWRITE_ALL)
        # With any other mode the logic would first move the segment to a labelmap of its own.
        mode, extent = slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove, labelmap.GetExtent()
        self._logic.ModifySegmentByLabelmap(segmentation, segmentId, labelmap, mode, extent, False, False)

    def _ownNode(self, segmentation: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentEditorNode:
        """Our settings node: no masking, which is applied beforehand, and no source volume, so nothing moves."""
        node = self._scene.GetSingletonNode(_OUR_NODE_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(_OUR_NODE_TAG)
            node.SetHideFromEditors(True)
            node.SetSaveWithScene(False)
            node = self._scene.AddNode(node)
        node.SetAndObserveSegmentationNode(segmentation)
        self._logic.SetSegmentEditorNode(node)
        return node

    def _widgetShows(self, segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
        node = self._widget.mrmlSegmentEditorNode() if self._widget is not None else None
        return node is not None and node.GetSegmentationNode() is segmentation

    def _userNode(self, segmentation: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentEditorNode | None:
        if self._widget is not None and self._widgetShows(segmentation):
            return self._widget.mrmlSegmentEditorNode()
        nodes = nodesOf(self._scene, "vtkMRMLSegmentEditorNode")
        users = [each for each in nodes if each.GetSingletonTag() != _OUR_NODE_TAG]
        return next((each for each in users if each.GetSegmentationNode() is segmentation), None)
