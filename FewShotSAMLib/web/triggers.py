"""The page's requests to the app. Everything that comes from a browser is checked, because it may be anything."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.worker.failures import BUG_HINT
from FewShotSAMLib.worker.logs import write_traceback
from FewShotSAMLib.workflow import ERROR, Message

if TYPE_CHECKING:
    from trame_server import Server

    from FewShotSAMLib.web.app import WebApp

_log = logging.getLogger(__name__)
NEEDS_VOLUME = "Open a volume first."


class Triggers:
    """Makes each public method of a subclass a trigger of that name. The page can reach nothing else of the app."""

    def __init__(self, app: WebApp) -> None:
        self._app = app

    def register(self, server: Server) -> None:
        """Let the page call the triggers."""
        for name in dir(self):
            if not name.startswith("_") and name != "register":
                server.trigger(name)(self._guarded(getattr(self, name)))

    def _guarded(self, action: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(action)
        def run(*values: Any) -> None:
            try:
                action(*values)
            except FewShotSAMError as error:
                self._app.complain(error)
            except (TypeError, ValueError, KeyError):  # the page sends no such message: somebody else wrote it
                _log.warning("A message from the page was refused", exc_info=True)
                self._app.complain(BadInputError("The server did not understand the page.", "Reload the page."))
            except Exception as error:  # noqa: BLE001 - the page could not report it, and the work goes on
                self._app.say(unexpected(error))

        return run

    def _need_volume(self) -> None:
        if self._app.volume is None:
            raise BadInputError(NEEDS_VOLUME)

    def _need_rest(self) -> None:
        if self._app.session.is_busy:
            raise BadInputError("A run is under way.", "Wait until it ends, or cancel it.")


def unexpected(error: Exception) -> Message:
    """A message about a bug; its traceback is written to a log."""
    log = write_traceback(error)
    return Message(ERROR, f"{type(error).__name__}: {error}", f"{BUG_HINT} {f'Log: {log}' if log else ''}")


def number(value: Any) -> float:
    """A finite number; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return value


def integer(value: Any) -> int:
    """A number without its decimals; raises ValueError for anything else."""
    return int(number(value))


def one_of(value: Any, allowed: Collection[str]) -> str:
    """One of these texts; raises ValueError for anything else."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{value!r} is not one of {allowed}")
    return value
