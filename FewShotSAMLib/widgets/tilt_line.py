"""The line that warns of slice views that do not show whole slices of the volume; it is gone where all do."""

from __future__ import annotations

from typing import Any

from FewShotSAMLib.widgets.services import Services


class TiltLine:
    """A text, and the button that rotates the views."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui = ui
        self._services = services
        ui.rotateViewsButton.connect("clicked()", self._onRotate)

    def update(self) -> None:
        """Show how the views are now; cheap enough for every look at them."""
        target = self._services.session.target
        tilted = target is not None and self._services.views.areTilted(target.volume)
        if self._ui.tiltFrame.visible != tilted:
            self._ui.tiltFrame.setVisible(tilted)

    def _onRotate(self) -> None:
        target = self._services.session.target
        if target is not None:
            self._services.views.rotateTo(target.volume)
        self.update()
