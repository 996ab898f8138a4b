"""Slicer's Segment Editor within the panel, for the panel's volume and segmentation."""

from __future__ import annotations

from typing import Any

import slicer

from FewShotSAMLib.mrml.nodes import nodesOf

_TAG = "FewShotSAM"  # our own editor node: the effect chosen here is independent of the Segment Editor module's
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

        show: the user chose the volume, so show it in the views; otherwise the views stay unchanged.
        """
        views = {view: view.GetLabelVolumeID() for view in nodesOf(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")}
        # Otherwise the editor would show the segmentation's reference volume, and again at each change of layout.
        self.widget.setAutoShowSourceVolumeNode(False)
        self.widget.setMRMLSegmentEditorNode(self._editorNode())
        self.widget.setSegmentationNode(_node(segmentationId))
        if segmentationId:  # without one, the editor accepts no source volume and logs an error
            self.widget.setSourceVolumeNode(_node(volumeId))
        if show and volumeId and segmentationId:
            self.widget.setAutoShowSourceVolumeNode(True)
            self.widget.showSourceVolumeInSliceViewers()
            return
        for view, labelVolumeId in views.items():
            view.SetLabelVolumeID(labelVolumeId)  # the editor clears this layer to keep it free for its segmentation

    def enter(self) -> None:
        """Enable painting in the views, and the effects' shortcuts, when the module is opened."""
        self._entered = True
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()

    def exit(self) -> None:
        """Deactivate effect and shortcuts when the module is left, so that none acts unnoticed."""
        self._entered = False
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def detach(self) -> None:
        """Release the nodes and views of a scene that is being closed."""
        self.widget.setSegmentationNode(None)
        self.widget.setSourceVolumeNode(None)
        self.widget.removeViewObservations()

    def attach(self) -> None:
        """Observe the views again after the scene was closed or another was loaded."""
        if self._entered:
            self.widget.setupViewObservations()

    def close(self) -> None:
        """Release everything of the scene; Slicer has crashed on exit on widgets that did not."""
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
