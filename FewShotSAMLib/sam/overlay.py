"""A view of a file that keeps every change in memory, so that a library can edit it without touching the disk.

HDF5 can hang or abort the process after a write that failed (full disk): its caches hold what it could not write. So
the HDF5 library edits this view, and the few changed pages are written afterwards, where an error is an OSError.
"""

import io
from pathlib import Path
from typing import BinaryIO

PAGE_BYTES = 4096


class OverlayFile(io.RawIOBase):
    """Reads from the file at `path` (or from nothing, where there is none) and remembers all that is written to it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._base: BinaryIO | None = path.open("rb") if path.exists() else None
        self._pages: dict[int, bytearray] = {}
        self._size = path.stat().st_size if self._base else 0
        self._position = 0

    @property
    def size(self) -> int:
        """Length of the edited file in bytes."""
        return self._size

    def changes(self) -> list[tuple[int, bytes]]:
        """(offset, bytes) of each changed page, the first page last: it holds the entrance to all others."""
        order = sorted(self._pages, key=lambda page: (page == 0, page))
        pieces = [(page * PAGE_BYTES, bytes(self._pages[page])) for page in order]
        return [(start, piece[: self._size - start]) for start, piece in pieces if start < self._size]

    def readable(self) -> bool:
        """Always: a file object has to say so."""
        return True

    def writable(self) -> bool:
        """Always, whatever the file's permissions."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As for any file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """As for any file."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the length; what lies beyond the file on disk reads as zeros."""
        self._size = self._position if size is None else size
        return self._size

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the changed pages and, between them, from the file."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        for page, start, stop, offset in _split(self._position, length):
            view[offset : offset + stop - start] = self._page(page)[start:stop]
        self._position += length
        return length

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Remember `data` at the current position."""
        view = memoryview(data).cast("B")
        for page, start, stop, offset in _split(self._position, len(view)):
            if page not in self._pages:
                self._pages[page] = bytearray(self._page(page))
            self._pages[page][start:stop] = view[offset : offset + stop - start]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def close(self) -> None:
        """Let go of the file; `changes` and `size` stay available."""
        if self._base is not None:
            self._base.close()
        super().close()

    def _page(self, page: int) -> bytes | bytearray:
        if page in self._pages:
            return self._pages[page]
        content = b""
        if self._base is not None:
            self._base.seek(page * PAGE_BYTES)
            content = self._base.read(PAGE_BYTES)
        return content.ljust(PAGE_BYTES, b"\0")


def _split(position: int, length: int) -> list[tuple[int, int, int, int]]:
    """A byte range as (page, first byte in the page, end in the page, offset in the range)."""
    parts = []
    offset = 0
    while offset < length:
        page, start = divmod(position + offset, PAGE_BYTES)
        stop = min(PAGE_BYTES, start + length - offset)
        parts.append((page, start, stop, offset))
        offset += stop - start
    return parts
