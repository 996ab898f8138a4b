"""How the panel reacts to the mouse wheel, to keys and to changes of state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt

from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.workflow import State


class WheelGuard(qt.QObject):
    """Keeps the mouse wheel from changing a value when the user only scrolls the panel: a widget that has not been
    clicked leaves the wheel to the panel."""

    def __init__(self, *widgets: Any) -> None:
        super().__init__()
        for widget in widgets:
            widget.setFocusPolicy(qt.Qt.StrongFocus)  # Qt's default also gives focus by the wheel
            widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """True if the widget must not see the event."""
        if event.type() != qt.QEvent.Wheel or watched.focus:
            return False
        event.ignore()
        return True


class Shortcuts:
    """Shortcuts of the whole window, such as "Ctrl+Shift+P", and their actions; active while the module is open."""

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        self._installed: list[Any] = []

    def install(self, window: Any) -> None:
        """Install them on a window; does nothing if they are installed."""
        if self._installed:
            return
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            self._installed.append(shortcut)

    def remove(self) -> None:
        """Remove them, so that other modules can use the keys."""
        for shortcut in self._installed:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._installed.clear()


_SECTIONS = ("inputs", "painted", "review", "models", "export", "advanced", "log")


class Folding:
    """Folds and unfolds sections, but only on a change of state, so that what the user folds or unfolds stays so."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui, self._services = ui, services
        self._state = State.IDLE
        self._reviewed = False
        for name in _SECTIONS:  # ctkCollapsibleButton would use its preferred width as its minimum
            getattr(ui, f"{name}Section").setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        ui.nextSliceButton.connect("clicked()", self._onPaintAgain)

    def update(self) -> None:
        """Adapt the sections to the session."""
        session = self._services.session
        state, reviewed = session.state, session.review is not None
        if (state, reviewed) == (self._state, self._reviewed):
            return
        started = state is State.PREPARING or (state is State.RUNNING and self._state is not State.PREPARING)
        if started and self._state in (State.IDLE, State.PREVIEW):
            self._fold(inputs=True, painted=True, review=True)
        elif state is State.IDLE and not reviewed:
            self._fold(inputs=False, painted=False, review=True)
        elif reviewed and state in (State.IDLE, State.PREVIEW):
            self._fold(review=False)
        self._state, self._reviewed = state, reviewed

    def _onPaintAgain(self) -> None:
        self._fold(inputs=False)

    def _fold(self, **collapsed: bool) -> None:
        for name, value in collapsed.items():
            getattr(self._ui, f"{name}Section").collapsed = value
