"""A lock file, which one process holds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError


@contextmanager
def exclusive_lock(path: Path, message: str, hint: str) -> Iterator[None]:
    """Hold the lock within the block. Raises BadInputError, with these words, if another process does; and OSError."""
    from filelock import FileLock, Timeout  # missing in Slicer without the extension

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadInputError(message, hint) from error
    try:
        yield
    finally:
        lock.release()
