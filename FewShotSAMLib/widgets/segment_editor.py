"""Slicer's Segment Editor within the panel, on the panel's own volume and segmentation."""

from __future__ import annotations

from typing import Any

import slicer

_TAG = "FewShotSAM"  # an editor node of its own: the effect chosen here is not the one of the Segment Editor module
_UNDO_STATES = 10


class SegmentEditor:
    """The embedded qMRMLSegmentEditorWidget."""

    def __init__(self, layout: Any) -> None:
        self._widget = slicer.qMRMLSegmentEditorWidget()
        self._widget.setMaximumNumberOfUndoStates(_UNDO_STATES)
        self._widget.setMRMLScene(slicer.mrmlScene)
        self._widget.setSegmentationNodeSelectorVisible(False)
        self._widget.setSourceVolumeNodeSelectorVisible(False)
        layout.addWidget(self._widget)

    def setInputs(self, volumeId: str, segmentationId: str) -> None:
        """Paint on this segmentation over this volume; "" for none."""
        self._widget.setMRMLSegmentEditorNode(self._editorNode())
        # Slicer shows the source volume only if the segmentation is set before it.
        self._widget.setSegmentationNode(_node(segmentationId))
        self._widget.setSourceVolumeNode(_node(volumeId))

    def enter(self) -> None:
        """The module is opened: painting in the views, and the effects' keys."""
        self._widget.setupViewObservations()
        self._widget.installKeyboardShortcuts()

    def exit(self) -> None:
        """The module is left: no effect stays active behind the user's back."""
        self._widget.setActiveEffect(None)
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def forgetScene(self) -> None:
        """The scene is being closed."""
        self._widget.setSegmentationNode(None)
        self._widget.setSourceVolumeNode(None)

    def saveStateForUndo(self) -> None:
        """Remember the segmentation, so that the editor's Undo button brings it back."""
        self._widget.saveStateForUndo()

    def _editorNode(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_TAG)
            node = slicer.mrmlScene.AddNode(node)
        return node


def _node(nodeId: str) -> Any:
    return slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None
