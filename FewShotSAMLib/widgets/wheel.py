"""Keeps the mouse wheel from changing a choice over which the panel is merely scrolled."""

from __future__ import annotations

from typing import Any

import qt


class WheelGuard(qt.QObject):
    """An event filter: a widget that was not clicked before leaves the wheel to the panel around it."""

    def __init__(self, *widgets: Any) -> None:
        super().__init__()
        for widget in widgets:
            widget.setFocusPolicy(qt.Qt.StrongFocus)  # Qt's own gives the focus to what the wheel turns over
            widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """True where the widget shall not see the event."""
        if event.type() != qt.QEvent.Wheel or watched.focus:
            return False
        event.ignore()
        return True
