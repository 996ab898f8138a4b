"""Slicer's Segment Editor within the panel, on the panel's own volume and segmentation."""

from __future__ import annotations

from typing import Any

import slicer

from FewShotSAMLib.mrml.nodes import nodesOf

_TAG = "FewShotSAM"  # an editor node of its own: the effect chosen here is not the one of the Segment Editor module
_UNDO_STATES = 10


class SegmentEditor:
    """The embedded qMRMLSegmentEditorWidget, `widget`."""

    def __init__(self, layout: Any) -> None:
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMaximumNumberOfUndoStates(_UNDO_STATES)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.setSegmentationNodeSelectorVisible(False)
        self.widget.setSourceVolumeNodeSelectorVisible(False)
        layout.addWidget(self.widget)
        self._entered = False

    def setInputs(self, volumeId: str, segmentationId: str, show: bool = False) -> None:
        """Paint on this segmentation over this volume; "" for none.

        show: the user asked for the volume, so it comes into the views; else the views stay as they are.
        """
        views = {view: view.GetLabelVolumeID() for view in nodesOf(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")}
        # By itself the editor would show the volume that the segmentation was made on, and at each change of layout.
        self.widget.setAutoShowSourceVolumeNode(False)
        self.widget.setMRMLSegmentEditorNode(self._editorNode())
        self.widget.setSegmentationNode(_node(segmentationId))
        if segmentationId:  # without one the editor takes no source volume, and logs an error
            self.widget.setSourceVolumeNode(_node(volumeId))
        if show and volumeId and segmentationId:
            self.widget.setAutoShowSourceVolumeNode(True)
            self.widget.showSourceVolumeInSliceViewers()
            return
        for view, labelVolumeId in views.items():
            view.SetLabelVolumeID(labelVolumeId)  # the editor empties this layer to keep it free for its segmentation

    def enter(self) -> None:
        """The module is opened: painting in the views, and the effects' keys."""
        self._entered = True
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()

    def exit(self) -> None:
        """The module is left: no effect stays active behind the user's back."""
        self._entered = False
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def detach(self) -> None:
        """The scene is being closed: let go of its nodes and views."""
        self.widget.setSegmentationNode(None)
        self.widget.setSourceVolumeNode(None)
        self.widget.removeViewObservations()

    def attach(self) -> None:
        """The scene is closed, or another was loaded: watch its views again."""
        if self._entered:
            self.widget.setupViewObservations()

    def close(self) -> None:
        """Hold nothing of the scene any more; Slicer has crashed at its end on widgets that did."""
        self.exit()
        self.detach()
        self.widget.setMRMLSegmentEditorNode(None)

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
