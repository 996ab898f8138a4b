"""The states of a session."""

import enum
from collections.abc import Sequence


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
