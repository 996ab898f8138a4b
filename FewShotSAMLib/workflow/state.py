"""The states of a session, and how its views hear of them: desktop panel and browser app watch the same objects."""

import enum
from collections.abc import Callable, Sequence
from typing import Any


class State(enum.Enum):
    """What the session is doing. In PREVIEW a result waits to be applied or discarded."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PREVIEW = "preview"


BUSY = (State.PREPARING, State.RUNNING, State.CANCELLING)


def why_inputs_change(gone: Sequence[str], state: State) -> str:
    """Why a run or a preview ends with its inputs, whoever heard of it first; "" while there is neither.

    gone: which of them are no longer in the scene.
    """
    if state is State.IDLE:
        return ""
    what = "its preview" if state is State.PREVIEW else "the run"
    return f"The {gone[0]} was removed, so {what} was dropped." if gone else f"With the inputs {what} was dropped."


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
