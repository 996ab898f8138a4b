"""The line that says what must still be installed; it is gone when all is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _


class DependencyLine:
    """Status, and the buttons that install with the user's consent."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._isInstalling = False
        ui.installButton.connect("clicked()", self._onInstall)
        ui.installFolderButton.connect("clicked()", self._onInstallFromFolder)

    def check(self) -> None:
        """Look again; during an installation nothing is certain."""
        if self._isInstalling:
            return
        self._services.missing = self._services.dependencies.status()
        self.update()

    def update(self) -> None:
        """Show what the last check found."""
        self._ui.dependencyFrame.setVisible(bool(self._services.missing))
        self._ui.dependencyLabel.setText(self._services.missing)

    def _onInstall(self) -> None:
        self._run(self._services.dependencies.install)

    def _onInstallFromFolder(self) -> None:
        folder = self._services.dialogs.openFolder(_("Folder of wheels"))
        if folder:
            self._run(self._services.dependencies.installFromFolder, folder)

    def _run(self, install: Callable[..., bool], *values: str) -> None:
        """pip lets Slicer go on with what the user does meanwhile: pressing a button again must begin nothing."""
        if self._isInstalling:
            return
        self._isInstalling = True
        self._ui.dependencyFrame.setEnabled(False)
        try:
            self._messages.attempt(install, *values)
        finally:
            self._isInstalling = False
            self._ui.dependencyFrame.setEnabled(True)
        self.check()
        self._services.session.changed.emit()
