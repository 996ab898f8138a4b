"""Drives the session from Slicer's main thread."""

from __future__ import annotations

from collections.abc import Callable

import qt

_PERIOD_MS = 50
_HURRIED_MS = 5


class Driver:
    """Calls `tick` every 50 ms while it is started; passes exceptions to `onFailed` and continues."""

    def __init__(self, tick: Callable[[], None], onFailed: Callable[[Exception], None]) -> None:
        self._tick = tick
        self._onFailed = onFailed
        self._timer = qt.QTimer()
        self._timer.setInterval(_PERIOD_MS)
        self._timer.connect("timeout()", self._onTimeout)

    def start(self) -> None:
        """Start, or continue."""
        if not self._timer.active:
            self._timer.start()

    def hurry(self, is_hurried: bool) -> None:
        """Call more often, for a thread that can work only during the calls; or at the normal rate again."""
        period = _HURRIED_MS if is_hurried else _PERIOD_MS
        if self._timer.interval != period:
            self._timer.setInterval(period)

    def stop(self) -> None:
        """Stop calling until it is started again."""
        self._timer.stop()

    def _onTimeout(self) -> None:
        try:
            self._tick()
        except Exception as error:  # noqa: BLE001 - the panel must not stop
            self._onFailed(error)
