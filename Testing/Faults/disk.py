"""Errors of the disk at every call of a run, one after the other: a shim over the functions that touch files."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CALLS = ("open", "close", "fsync", "replace", "link", "unlink", "chmod")
ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Disk:
    """Counts the calls that touch files below a folder, and lets the one of a number fail."""

    def __init__(self, folder: Path, failing: int | None = None) -> None:
        self._folder, self._failing = str(folder.resolve()), failing
        self.calls: list[str] = []
        self._open: dict[int, str] = {}

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self._failing:
            number = ERRORS[len(self.calls) % len(ERRORS)]
            raise OSError(number, os.strerror(number))

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and str(Path(path).absolute()).startswith(self._folder)

    def wrapped(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """A function of `os` that may fail."""

        def call(first: Any, *rest: Any, **named: Any) -> Any:
            if name in ("close", "fsync"):
                if first not in self._open:
                    return plain(first, *rest, **named)
                if name == "close":
                    del self._open[first]
                    plain(first)
                    return self._step(name)
                self._step(name)
                return plain(first)
            ours = self._is_ours(first) or (rest and self._is_ours(rest[0]))
            if not ours:
                return plain(first, *rest, **named)
            self._step(name)
            done = plain(first, *rest, **named)
            if name == "open":
                self._open[done] = str(first)
            return done

        return call

    def opened(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """`io.open`: opening for writing, each write and the closing may fail."""

        def call(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not self._is_ours(file) or not set(mode) & set("wxa+"):
                return plain(file, mode, *rest, **named)
            self._step("io.open")
            return _Stream(plain(file, mode, *rest, **named), self._step)

        return call


class _Stream:
    """A file whose writes and closing may fail."""

    def __init__(self, stream: Any, step: Callable[[str], None]) -> None:
        self._stream, self._step = stream, step

    def write(self, content: Any) -> int:
        self._step("write")
        return int(self._stream.write(content))

    def close(self) -> None:
        if not self._stream.closed:
            self._stream.close()
            self._step("io.close")

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def failing(folder: Path, number: int | None) -> Iterator[Disk]:
    """Within the block the call of that number on files below `folder` fails; None for none."""
    disk = Disk(folder, number)
    plain = {name: getattr(os, name) for name in CALLS}
    plain_open = io.open
    for name in CALLS:
        setattr(os, name, disk.wrapped(name, plain[name]))
    io.open = disk.opened(plain_open)  # type: ignore[assignment]
    try:
        yield disk
    finally:
        io.open = plain_open
        for name in CALLS:
            setattr(os, name, plain[name])
