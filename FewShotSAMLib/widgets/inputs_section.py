"""Section 1: volume, segmentation, and the Segment Editor to paint with."""

from __future__ import annotations

from typing import Any

import slicer

from FewShotSAMLib.mrml.choice import defaultVolumeId, segmentationsOf, temporaryIds
from FewShotSAMLib.mrml.places import worldMatrix
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.observers import SceneObservers
from FewShotSAMLib.widgets.segment_editor import SegmentEditor
from FewShotSAMLib.widgets.services import Services


class InputsSection:
    """Passes the chosen nodes to the session; creates a segmentation if the volume has none."""

    def __init__(
        self, ui: Any, services: Services, messages: Messages, editor: SegmentEditor, observers: SceneObservers
    ) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._editor = editor
        self._observers = observers
        self._busy = False
        self._kept: tuple[str, str] | None = None  # what was chosen, while one of the nodes is removed
        observers.watchNodes(self._onRemoving, self._onRemoved, self._onMoved)
        for selector in (ui.volumeSelector, ui.segmentationSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        ui.volumeSelector.connect("currentNodeIDChanged(QString)", self._onVolume)
        ui.segmentationSelector.connect("currentNodeIDChanged(QString)", self._onSegmentation)
        ui.newSegmentationButton.connect("clicked()", self._onNewSegmentation)

    def restore(self) -> None:
        """Choose the nodes stored in the scene, else those that the user most likely means; leave the views alone."""
        parameters, scene = self._services.parameters, self._services.scene
        volumeId, segmentationId = parameters.volumeId, parameters.segmentationId
        self._busy = True
        if not scene.exists(volumeId):
            volumeId = self._chosen(self._ui.volumeSelector) or defaultVolumeId(slicer.mrmlScene)
        self._ui.volumeSelector.setCurrentNodeID(volumeId)
        if scene.exists(segmentationId):
            self._ui.segmentationSelector.setCurrentNodeID(segmentationId)
        else:
            self._chooseSegmentation()
        self._busy = False
        self._handOver(show=False)

    def detach(self) -> None:
        """Release the nodes of a scene that is being closed."""
        self._busy = True
        self._editor.detach()
        self._observers.watch("", "")

    def hold(self) -> None:
        """Ignore the selectors until `attach`, as they change without the user while a scene is loaded."""
        self._busy = True

    def attach(self) -> None:
        """Start again after the scene was closed or another was loaded."""
        self._busy, self._kept = False, None
        self._editor.attach()
        self.restore()

    def update(self) -> None:
        """Lock the inputs during a run, and keep previews out of the selector."""
        model, hidden = self._ui.segmentationSelector.sortFilterProxyModel(), temporaryIds(slicer.mrmlScene)
        if list(model.hiddenNodeIDs) != hidden:
            model.hiddenNodeIDs = hidden
        idle = not self._services.session.is_busy
        for widget in (self._ui.volumeSelector, self._ui.segmentationSelector):
            widget.setEnabled(idle)
        self._ui.newSegmentationButton.setEnabled(idle and bool(self._ui.volumeSelector.currentNodeID))

    def _onVolume(self, nodeId: str) -> None:
        if not self._busy:
            self._chooseSegmentation()
            self._handOver(show=True)

    def _onSegmentation(self, nodeId: str) -> None:
        if not self._busy:
            self._handOver(show=False)

    def _onRemoving(self, nodeId: str) -> None:
        """Remember the choice before a node is removed, as the selectors then choose another without the user."""
        chosen = self._chosen(self._ui.volumeSelector), self._chosen(self._ui.segmentationSelector)
        if not self._busy and nodeId in chosen:
            self._busy, self._kept = True, chosen

    def _onRemoved(self) -> None:
        """Choose nothing in place of the removed node, and tell the session."""
        if self._kept is None or all(not nodeId or self._services.scene.exists(nodeId) for nodeId in self._kept):
            return
        kept, self._kept = self._kept, None
        for selector, nodeId in zip((self._ui.volumeSelector, self._ui.segmentationSelector), kept, strict=True):
            selector.setCurrentNodeID(nodeId if self._services.scene.exists(nodeId) else "")
        self._busy = False
        self._handOver(show=False)

    def _onNewSegmentation(self) -> None:
        self._create()
        self._handOver(show=False)

    def _onMoved(self) -> None:
        """Handle a moved volume: perhaps only now can it be painted on, and what is painted may be on other slices."""
        if not self._busy:
            if not self._chosen(self._ui.segmentationSelector):
                self._chooseSegmentation()
                self._handOver(show=False)
            self._services.session.mark_modified()

    def _chooseSegmentation(self) -> None:
        """Choose a segmentation made for the volume, preferably the current one; create one if there is none."""
        volume = slicer.mrmlScene.GetNodeByID(self._chosen(self._ui.volumeSelector))
        chosen = self._chosen(self._ui.segmentationSelector)
        if volume is None:
            return
        made = segmentationsOf(slicer.mrmlScene, volume)
        if made and chosen not in made:
            self._select(made[0])
        elif not made and worldMatrix(volume) is not None:  # else nothing can be painted: the line above says why
            self._create()

    def _select(self, segmentationId: str) -> None:
        wasBusy, self._busy = self._busy, True
        self._ui.segmentationSelector.setCurrentNodeID(segmentationId)
        self._busy = wasBusy

    def _chosen(self, selector: Any) -> str:
        """The selector's node id; "" if the node no longer exists: the selector may be the last to notice that."""
        nodeId = str(selector.currentNodeID)
        return nodeId if self._services.scene.exists(nodeId) else ""

    def _create(self) -> None:
        self._messages.attempt(self._createAndChoose)

    def _createAndChoose(self) -> None:
        wasBusy, self._busy = self._busy, True  # the selector may choose the new node before we do
        try:
            self._select(self._services.scene.create_segmentation(self._ui.volumeSelector.currentNodeID))
        finally:
            self._busy = wasBusy

    def _handOver(self, show: bool) -> None:
        volumeId, segmentationId = self._chosen(self._ui.volumeSelector), self._chosen(self._ui.segmentationSelector)
        self._remember(volumeId, segmentationId)
        self._editor.setInputs(volumeId, segmentationId, show)
        self._observers.watch(volumeId, segmentationId)
        session = self._services.session
        self._messages.attempt(session.set_inputs, volumeId or None, segmentationId or None)
        session.range, session.earlier = self._services.parameters.sliceRange, self._services.parameters.earlier

    def _remember(self, volumeId: str, segmentationId: str) -> None:
        """Store the choice in the scene. The range belongs to the volume, so another volume is predicted in full."""
        parameters = self._services.parameters
        if (volumeId, segmentationId) == (parameters.volumeId, parameters.segmentationId):
            return
        if volumeId != parameters.volumeId:
            parameters.sliceRange = None
        parameters.volumeId = volumeId
        parameters.segmentationId = segmentationId
