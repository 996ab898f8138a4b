"""Drives the session from Slicer's main thread."""

from __future__ import annotations

from collections.abc import Callable

import qt

_PERIOD_MS = 50


class Driver:
    """Calls `tick` every 50 ms while it is started."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._timer = qt.QTimer()
        self._timer.setInterval(_PERIOD_MS)
        self._timer.connect("timeout()", self._onTimeout)

    def start(self) -> None:
        """Begin, or go on."""
        self._timer.start()

    def stop(self) -> None:
        """No further call."""
        self._timer.stop()

    def _onTimeout(self) -> None:
        try:
            self._tick()
        except Exception:
            self.stop()  # the same error twenty times a second would hide its cause
            raise
