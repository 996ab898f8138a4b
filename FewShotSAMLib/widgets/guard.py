"""Keeps the panel and its parts working after an unexpected error, which is reported once."""

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

_SHOWING = ("update", "tick", "drawNext", "showProgress")  # these only show the session, and are called repeatedly


class Failures:
    """Handles unexpected errors. All of them appear in the Python console and Slicer's log, with a traceback."""

    def __init__(self, session: Session, messages: Messages) -> None:
        self._session = session
        self._messages = messages
        self._reported: set[str] = set()

    def guarded(self, cls: type) -> Any:
        """`cls` with guards around all methods called from outside that return nothing: public ones and `_on...`."""
        methods = {name: method for name, method in vars(cls).items() if _isCalledFromOutside(name, method)}
        return type(cls.__name__, (cls,), {name: self._guarded(name, method) for name, method in methods.items()})

    def ofAction(self, error: Exception) -> None:
        """Handle the failure of a user's action or a session's step: drop what is running, so that all can restart."""
        self._log(error)
        try:
            self._session.give_up(error)
        except Exception as another:  # noqa: BLE001 - dropping what failed may fail as well; the second time nothing is left
            self._log(another)
            self._session.give_up(another)

    def ofShowing(self, error: Exception) -> None:
        """Report that a part of the panel could not be updated; what is running goes on."""
        if self._log(error):
            what = " ".join(f"{type(error).__name__} {error}".split())
            hint = _("The rest still works. Save your work, restart Slicer, and report this with the text of the log.")
            self._messages.show(Message("error", _("Part of the panel could not be shown: {0}.").format(what), hint))

    def _log(self, error: Exception) -> bool:
        """Log an error unless it was logged before: repeated at every tick, it would hide all others. True if new."""
        details = "".join(traceback.format_exception(error)).rstrip()
        if details in self._reported:
            return False
        self._reported.add(details)
        self._messages.log(details)
        logging.error("FewShotSAM: an unexpected error", exc_info=error)
        return True

    def _guarded(self, name: str, method: Callable[..., None]) -> Callable[..., None]:
        takes = method.__code__.co_argcount
        onFailed = self.ofShowing if name in _SHOWING else self.ofAction

        @functools.wraps(method)
        def called(*values: Any) -> None:
            try:
                method(*values[:takes])  # PythonQt passes all the signal's values, as it sees no names here
            except Exception as error:  # noqa: BLE001 - nobody else would tell the user
                onFailed(error)

        return called


def _isCalledFromOutside(name: str, method: Any) -> bool:
    if not inspect.isfunction(method) or method.__annotations__.get("return") not in (None, "None"):
        return False
    return name.startswith("_on") or not name.startswith("_")
