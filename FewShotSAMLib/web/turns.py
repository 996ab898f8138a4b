"""Whose turn it is to be drawn: the view that the pointer is at work in comes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

PAUSE_S = 0.15
"""The other views follow once the pointer has rested for so long."""


class Drawable(Protocol):
    """What is needed of trame-slicer's views."""

    @property
    def is_render_blocked(self) -> bool:
        """Whether it is not drawn."""

    def set_render_blocked(self, is_blocked: bool) -> bool:
        """Draw it no more, or again and at once; whether it was blocked."""


class Turns:
    """One thread draws all views, and sends no picture meanwhile: the user would wait for all of them.

    Views that are not in the layout are blocked already, by trame-slicer, and stay so.
    """

    def __init__(self, views: Sequence[Drawable], clock: Callable[[], float] = time.monotonic) -> None:
        self._views, self._clock = views, clock
        self._waiting = list[Drawable]()
        self._until = 0.0

    def take(self, view: Drawable) -> None:
        """The pointer is at work in this view."""
        self._until = self._clock() + PAUSE_S
        if view in self._waiting:
            self._waiting.remove(view)
            view.set_render_blocked(False)
        for other in self._views:
            if other is not view and not other.is_render_blocked:
                other.set_render_blocked(True)
                self._waiting.append(other)

    def poll(self) -> None:
        """Draw what has waited, once the pointer rests."""
        if self._waiting and self._clock() >= self._until:
            self.end()

    def end(self) -> None:
        """Draw what has waited."""
        while self._waiting:
            self._waiting.pop().set_render_blocked(False)
