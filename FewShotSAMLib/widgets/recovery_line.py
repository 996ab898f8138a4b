"""The line that offers what was painted before Slicer ended without being asked; it is gone where there is nothing."""

from __future__ import annotations

import time
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow.autosave import Leftover
from FewShotSAMLib.workflow.scene import Target


class RecoveryLine:
    """A text and two buttons: bring it back on the chosen volume, or delete it."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        ui.restoreWorkButton.connect("clicked()", self._onRestore)
        ui.deleteWorkButton.connect("clicked()", self._onDelete)

    def update(self) -> None:
        """Show the latest of what is offered."""
        left = self._first()
        self._ui.recoveryFrame.setVisible(left is not None)
        if left is None:
            return
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(left.saved))
        text = _("What was painted on “{0}” ({1}) was not saved. Choose that volume and bring it back, or delete it.")
        self._ui.recoveryLabel.setText(text.format(left.volume, when))
        for button in (self._ui.restoreWorkButton, self._ui.deleteWorkButton):
            button.setEnabled(not self._services.session.is_busy)

    def _first(self) -> Leftover | None:
        return next(iter(self._services.session.kept.left), None)

    def _onRestore(self) -> None:
        left = self._first()
        if left is not None:
            self._messages.attempt(self._restore, left)
            self.update()

    def _restore(self, left: Leftover) -> None:
        volumeId = self._ui.volumeSelector.currentNodeID
        if not volumeId:
            raise BadInputError(_("No volume is chosen."), _("Load the volume and choose it."))
        target = Target(volumeId, self._ui.segmentationSelector.currentNodeID)
        restored = self._services.session.kept.put_back(left, target)
        self._ui.segmentationSelector.setCurrentNodeID(restored)
        self._services.session.mark_modified()

    def _onDelete(self) -> None:
        left = self._first()
        if left is not None:
            self._services.session.kept.drop(left)
            self.update()
