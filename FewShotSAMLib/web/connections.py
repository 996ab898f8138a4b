"""Prevents idle connections, and too many at once, from shutting the server's owner out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

SILENT_S = 10.0
"""How long a connection may take to send the header of a request, or stay idle after one."""
MOST_STRANGERS = 48
"""Most simultaneous connections without the owner's cookie."""


class Connection(Protocol):
    """The part used here of aiohttp's handler of a connection (`web.RequestHandler`)."""

    def force_close(self) -> None:
        """Close the connection at once."""


class Connections:
    """The connections of one server: use `serving` while a request is answered, `sweep` every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[Connection, float] = {}
        self._owned: set[Connection] = set()
        self._serving: dict[Connection, int] = {}

    @contextmanager
    def serving(self, connection: Connection, is_owner: bool) -> Iterator[bool]:
        """Keep track of a request being answered; yields False if it must be turned away: strangers have too many."""
        if is_owner:
            self._owned.add(connection)
        strangers = [each for each in self._serving if each not in self._owned]
        self._serving[connection] = self._serving.get(connection, 0) + 1
        try:
            yield is_owner or len(strangers) < MOST_STRANGERS
        finally:
            self._serving[connection] -= 1
            if not self._serving[connection]:
                del self._serving[connection]
            self._since[connection] = self._clock()

    def sweep(self, there: list[Any]) -> int:
        """Close connections that have been silent for too long, and the oldest silent ones if there are too many.

        there: all connections of the server. Returns how many were closed.
        """
        now = self._clock()
        self._since = {each: self._since.get(each, now) for each in there}
        self._owned &= set(there)
        silent = [each for each in there if each not in self._serving]
        strangers = sorted((each for each in silent if each not in self._owned), key=lambda each: self._since[each])
        spare = max(0, len(strangers) - MOST_STRANGERS)
        doomed = {each for each in silent if now - self._since[each] > SILENT_S} | set(strangers[:spare])
        for each in doomed:
            each.force_close()
        return len(doomed)


class OneLine(logging.Formatter):
    """One line for each record: whoever runs a server should not have to read tracebacks of what strangers sent."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, and the type of the error."""
        error = record.exc_info[1] if record.exc_info else None
        reason = f": {type(error).__name__}" if error is not None else ""
        return f"{record.levelname.lower()}: {' '.join(record.getMessage().split())[:300]}{reason}"


def log_in_one_line() -> None:
    """Reduce each record that the libraries log to one line on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    for name in ("aiohttp", "asyncio", "wslink", "trame", "FewShotSAMLib.web.guard"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
