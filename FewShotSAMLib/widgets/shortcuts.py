"""Keyboard shortcuts that are there only while the module is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt


class Shortcuts:
    """Keys of the whole window, such as "Ctrl+Shift+P", and what they do."""

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        self._installed: list[Any] = []

    def install(self, window: Any) -> None:
        """Put them on a window; harmless where they are there already."""
        if self._installed:
            return
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            self._installed.append(shortcut)

    def remove(self) -> None:
        """Take them off, so that other modules can have the keys."""
        for shortcut in self._installed:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._installed.clear()
