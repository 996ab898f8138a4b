"""An error that nobody foresaw ends neither the panel nor the part of it in which it happened: it is told, once."""

from __future__ import annotations

import functools
import inspect
import logging
import traceback
from collections.abc import Callable
from typing import Any

from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import Message, Session

_SHOWING = ("update", "tick", "drawNext", "showProgress")  # what only shows the session, and is called again and again


class Failures:
    """Told of errors that nobody foresaw. Python's console and Slicer's log get all of them with their origin."""

    def __init__(self, session: Session, messages: Messages) -> None:
        self._session = session
        self._messages = messages
        self._told: set[str] = set()

    def guarded(self, cls: type) -> Any:
        """`cls` with all guarded that is called from outside and returns nothing: its public methods, and `_on...`."""
        methods = {name: method for name, method in vars(cls).items() if _isCalledFromOutside(name, method)}
        return type(cls.__name__, (cls,), {name: self._guarded(name, method) for name, method in methods.items()})

    def ofAction(self, error: Exception) -> None:
        """An action of the user or a step of the session failed: what runs is dropped, so that all can begin again."""
        self._log(error)
        try:
            self._session.give_up(error)
        except Exception as another:  # noqa: BLE001 - dropping what failed may fail as well; the second time nothing is left
            self._log(another)
            self._session.give_up(another)

    def ofShowing(self, error: Exception) -> None:
        """A part of the panel could not be brought up to date; what runs is not touched."""
        if self._log(error):
            what = " ".join(f"{type(error).__name__} {error}".split())
            hint = _(
                "The rest of it works. Save your work, start Slicer again, and report this with the text of the log."
            )
            self._messages.show(Message("error", _("Part of the panel could not be shown: {0}.").format(what), hint))

    def _log(self, error: Exception) -> bool:
        """Whether it is a new one: the same error with every tick would hide all others."""
        details = "".join(traceback.format_exception(error)).rstrip()
        if details in self._told:
            return False
        self._told.add(details)
        self._messages.log(details)
        logging.error("FewShotSAM: an unexpected error", exc_info=error)
        return True

    def _guarded(self, name: str, method: Callable[..., None]) -> Callable[..., None]:
        takes = method.__code__.co_argcount
        onFailed = self.ofShowing if name in _SHOWING else self.ofAction

        @functools.wraps(method)
        def called(*values: Any) -> None:
            try:
                method(*values[:takes])  # PythonQt hands over all that the signal carries, as it sees no names here
            except Exception as error:  # noqa: BLE001 - nobody else would tell the user
                onFailed(error)

        return called


def _isCalledFromOutside(name: str, method: Any) -> bool:
    if not inspect.isfunction(method) or method.__annotations__.get("return") not in (None, "None"):
        return False
    return name.startswith("_on") or not name.startswith("_")
