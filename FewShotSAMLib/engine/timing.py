"""Times the stages of a job."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimer:
    """Seconds spent in each stage of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for the stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - start, 3)

    def total(self) -> float:
        """Seconds since the job began."""
        return round(time.monotonic() - self._start, 3)
