"""The line that warns of a volume whose slices cannot be painted as the views show it; it is gone where they can."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from FewShotSAMLib.mrml.harden import hardenTransforms
from FewShotSAMLib.mrml.places import worldMatrix
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _

_BENT, _TILTED = "bent", "tilted"


class TiltLine:
    """A text and a button: to rotate the views, or first of all to harden a transform that bends the slices."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui, self._services = ui, services
        self._shown = _TILTED
        self._texts = {
            _TILTED: (ui.tiltLabel.text, ui.rotateViewsButton.text, ui.rotateViewsButton.toolTip),
            _BENT: (
                _(
                    "The volume or the segmentation is under a transform that is not linear, as Slicer loads series "
                    "with gantry tilt or irregular slice spacing. Harden it before you paint."
                ),
                _("Harden transform"),
                _("Resample the volume in the scene to where it is shown. Its file is not changed."),
            ),
        }
        ui.rotateViewsButton.connect("clicked()", self._onPressed)

    def update(self) -> None:
        """Show how volume and views are now; cheap enough for every look at them."""
        wanted = self._wanted()
        if wanted and wanted != self._shown:
            self._shown = wanted
            text, button, toolTip = self._texts[wanted]
            self._ui.tiltLabel.setText(text)
            self._ui.rotateViewsButton.setText(button)
            self._ui.rotateViewsButton.setToolTip(toolTip)
        if self._ui.tiltFrame.visible != bool(wanted):
            self._ui.tiltFrame.setVisible(bool(wanted))
        self._ui.rotateViewsButton.setEnabled(wanted != _BENT or not self._services.session.is_busy)

    def _wanted(self) -> str:
        nodes = [node for node in self._nodes() if node is not None]
        if self._ui.volumeSelector.currentNodeID and any(worldMatrix(node) is None for node in nodes):
            return _BENT
        target = self._services.session.target
        return _TILTED if target is not None and self._services.views.areTilted(target.volume) else ""

    def _nodes(self) -> list[Any]:
        """The chosen volume and segmentation, None for one that is not chosen."""
        ids = [self._ui.volumeSelector.currentNodeID, self._ui.segmentationSelector.currentNodeID]
        return [slicer.mrmlScene.GetNodeByID(nodeId) if nodeId else None for nodeId in ids]

    def _onPressed(self) -> None:
        target = self._services.session.target
        volume, segmentation = self._nodes()
        if self._shown == _BENT and volume is not None:
            with slicer.util.WaitCursor():
                hardenTransforms(volume, segmentation)
        elif target is not None:
            self._services.views.rotateTo(target.volume)
        self.update()
