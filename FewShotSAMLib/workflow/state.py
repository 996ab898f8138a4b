"""The states of a session."""

import enum


class State(enum.Enum):
    """What the session is doing. In PREVIEW a result waits to be applied or discarded."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PREVIEW = "preview"


BUSY = (State.PREPARING, State.RUNNING, State.CANCELLING)
