"""The line that says what must still be installed; it is gone when all is there."""

from __future__ import annotations

from typing import Any

from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services


class DependencyLine:
    """Status and the button that installs, with the user's consent."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui = ui
        self._services = services
        self._messages = messages
        self._status = services.dependencies.status()
        ui.installButton.connect("clicked()", self._onInstall)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, as far as the last `check` saw."""
        return not self._status

    def check(self) -> None:
        """Look again."""
        self._status = self._services.dependencies.status()
        self.update()

    def update(self) -> None:
        """Show what the last check found."""
        self._ui.dependencyFrame.setVisible(not self.complete)
        self._ui.dependencyLabel.setText(self._status)

    def _onInstall(self) -> None:
        self._messages.attempt(self._services.dependencies.install)
        self.check()
        if self.complete:
            self._messages.attempt(self._services.session.inspect)
