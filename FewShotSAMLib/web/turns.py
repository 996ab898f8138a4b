"""The order in which views are drawn: the one that the pointer is at work in comes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

PAUSE_S = 0.15
"""The other views follow once the pointer has rested for this long."""


class Drawable(Protocol):
    """The part of trame-slicer's views that is used here."""

    @property
    def is_render_blocked(self) -> bool:
        """Whether drawing is blocked."""

    def set_render_blocked(self, is_blocked: bool) -> bool:
        """Block drawing, or unblock it and draw at once; returns whether it was blocked."""


class Turns:
    """Blocks the other views: one thread draws all, sending no picture meanwhile, so the user would wait for all.

    Views that are not in the layout are blocked already, by trame-slicer, and stay so.
    """

    def __init__(self, views: Sequence[Drawable], clock: Callable[[], float] = time.monotonic) -> None:
        self._views, self._clock = views, clock
        self._waiting = list[Drawable]()
        self._until = 0.0

    def take(self, view: Drawable) -> None:
        """Draw only this view for now: the pointer is at work in it."""
        self._until = self._clock() + PAUSE_S
        if view in self._waiting:
            self._waiting.remove(view)
            view.set_render_blocked(False)
        for other in self._views:
            if other is not view and not other.is_render_blocked:
                other.set_render_blocked(True)
                self._waiting.append(other)

    def poll(self) -> None:
        """Draw the waiting views once the pointer rests."""
        if self._waiting and self._clock() >= self._until:
            self.end()

    def end(self) -> None:
        """Draw the waiting views."""
        while self._waiting:
            self._waiting.pop().set_render_blocked(False)
