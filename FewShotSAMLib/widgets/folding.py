"""Folds away what is done and unfolds what comes next, when the session goes from one state to another."""

from __future__ import annotations

from typing import Any

import qt

from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.workflow import State

_SECTIONS = ("inputs", "painted", "review", "models", "export", "advanced", "log")


class Folding:
    """Acts only on a change of state, so that a section which the user folds or unfolds stays so."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui, self._services = ui, services
        self._state = State.IDLE
        self._reviewed = False
        for name in _SECTIONS:  # ctkCollapsibleButton takes the width that it would like for the least it can do with
            getattr(ui, f"{name}Section").setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        ui.nextSliceButton.connect("clicked()", self._onPaintAgain)

    def update(self) -> None:
        """Follow the session."""
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
