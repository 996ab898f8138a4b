"""The states of a session, and the signals that notify its views, the desktop panel and the browser app."""

import enum
from collections.abc import Callable, Sequence
from typing import Any


class State(enum.Enum):
    """What the session is doing. In PREVIEW, a result waits to be applied or discarded."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PREVIEW = "preview"


BUSY = (State.PREPARING, State.RUNNING, State.CANCELLING)


def why_inputs_change(gone: Sequence[str], state: State) -> str:
    """Why a change of the inputs ends the run or the preview; "" while there is neither.

    gone: the inputs that are no longer in the scene.
    """
    if state is State.IDLE:
        return ""
    what = "the preview" if state is State.PREVIEW else "the run"
    if gone:
        return f"The {gone[0]} was removed, so {what} was discarded."
    return f"The inputs changed, so {what} was discarded."


class Signal:
    """Calls its observers in the order of their connection, in the thread that emits."""

    def __init__(self) -> None:
        self._observers: list[Callable[..., None]] = []

    def connect(self, observer: Callable[..., None]) -> None:
        """Call `observer` from now on with the emitted values."""
        self._observers.append(observer)

    def disconnect(self, observer: Callable[..., None]) -> None:
        """Stop calling it. Raises ValueError if it is not connected."""
        self._observers.remove(observer)

    def emit(self, *values: Any) -> None:
        """Call all observers with these values."""
        for observer in list(self._observers):
            observer(*values)
