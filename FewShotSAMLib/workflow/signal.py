"""Observers without Qt, so that the desktop panel and the browser app can watch the same objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls its observers in the order in which they were connected, in the thread that emits."""

    def __init__(self) -> None:
        self._observers: list[Callable[..., None]] = []

    def connect(self, observer: Callable[..., None]) -> None:
        """Call `observer` from now on with what is emitted."""
        self._observers.append(observer)

    def disconnect(self, observer: Callable[..., None]) -> None:
        """Stop calling it. Raises ValueError where it was never connected."""
        self._observers.remove(observer)

    def emit(self, *values: Any) -> None:
        """Tell all observers."""
        for observer in list(self._observers):
            observer(*values)
