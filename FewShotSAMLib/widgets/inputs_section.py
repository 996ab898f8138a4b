"""Section 1: volume and segmentation, and the Segment Editor to paint with."""

from __future__ import annotations

from typing import Any

import slicer

from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.observers import SceneObservers
from FewShotSAMLib.widgets.segment_editor import SegmentEditor
from FewShotSAMLib.widgets.services import Services


class InputsSection:
    """Hands the chosen nodes to the session; makes a segmentation where the scene has none."""

    def __init__(
        self, ui: Any, services: Services, messages: Messages, editor: SegmentEditor, observers: SceneObservers
    ) -> None:
        self._ui = ui
        self._services = services
        self._messages = messages
        self._editor = editor
        self._observers = observers
        self._busy = False
        for selector in (ui.volumeSelector, ui.segmentationSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        ui.volumeSelector.connect("currentNodeIDChanged(QString)", self._onVolume)
        ui.segmentationSelector.connect("currentNodeIDChanged(QString)", self._onSegmentation)
        ui.newSegmentationButton.connect("clicked()", self._onNewSegmentation)

    def restore(self) -> None:
        """Choose what the scene remembers, else what the selectors offer."""
        parameters = self._services.parameters
        remembered = (parameters.volumeId, parameters.segmentationId)
        self._busy = True
        for selector, nodeId in zip((self._ui.volumeSelector, self._ui.segmentationSelector), remembered, strict=True):
            if nodeId:
                selector.setCurrentNodeID(nodeId)
        self._busy = False
        self._createIfNone()
        self._handOver()

    def detach(self) -> None:
        """The scene is being closed: let go of its nodes."""
        self._busy = True
        self._editor.detach()
        self._observers.watchSegmentation("")

    def attach(self) -> None:
        """The scene is closed or another was loaded."""
        self._busy = False
        self._editor.attach()
        self.restore()

    def update(self) -> None:
        """Nothing may be exchanged under a run."""
        idle = not self._services.session.is_busy
        for widget in (self._ui.volumeSelector, self._ui.segmentationSelector):
            widget.setEnabled(idle)
        self._ui.newSegmentationButton.setEnabled(idle and bool(self._ui.volumeSelector.currentNodeID))

    def _onVolume(self, nodeId: str) -> None:
        if not self._busy:
            self._createIfNone()
            self._handOver()

    def _onSegmentation(self, nodeId: str) -> None:
        if not self._busy:
            self._handOver()

    def _onNewSegmentation(self) -> None:
        self._create()
        self._handOver()

    def _createIfNone(self) -> None:
        if self._chosen(self._ui.volumeSelector) and not self._chosen(self._ui.segmentationSelector):
            self._create()

    def _chosen(self, selector: Any) -> str:
        """The selector's node id; "" where the node is gone: after closing a scene the selector may hear of it last."""
        nodeId = str(selector.currentNodeID)
        return nodeId if self._services.scene.exists(nodeId) else ""

    def _create(self) -> None:
        self._busy = True
        try:
            self._messages.attempt(self._createAndChoose)
        finally:
            self._busy = False

    def _createAndChoose(self) -> None:
        created = self._services.scene.create_segmentation(self._ui.volumeSelector.currentNodeID)
        self._ui.segmentationSelector.setCurrentNodeID(created)

    def _handOver(self) -> None:
        volumeId, segmentationId = self._chosen(self._ui.volumeSelector), self._chosen(self._ui.segmentationSelector)
        self._remember(volumeId, segmentationId)
        self._editor.setInputs(volumeId, segmentationId)
        self._observers.watchSegmentation(segmentationId)
        session = self._services.session
        self._messages.attempt(session.set_inputs, volumeId or None, segmentationId or None)
        session.range = self._services.parameters.sliceRange

    def _remember(self, volumeId: str, segmentationId: str) -> None:
        """Store the choice in the scene. The range belongs to the volume, so another volume is predicted in full."""
        parameters = self._services.parameters
        if (volumeId, segmentationId) == (parameters.volumeId, parameters.segmentationId):
            return
        if volumeId != parameters.volumeId:
            parameters.sliceRange = None
        parameters.volumeId = volumeId
        parameters.segmentationId = segmentationId
