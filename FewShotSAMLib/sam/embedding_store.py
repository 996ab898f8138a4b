"""The embeddings of one cache key: in a file if possible, else in memory; damaged slices are never returned.

The file is HDF5: attribute `key`, dataset `slices` of records: `embedding`, float16 (C, h, w), and `checksum`, uint32.
The file is created completely, with all space reserved, before it gets its name; plain file calls then write slices at
known offsets, so that neither a kill nor a full disk can corrupt it. A slice is valid if its checksum (never 0, seeded
with key and slice number) matches its bytes. Several processes may open the file, and see what others wrote.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np

Shape = tuple[int, int, int]
Warn = Callable[[str], None]


class DamagedFileError(OSError):
    """A file does not contain what it should; the message says why."""


class MissingSlicesError(Exception):
    """The slices `indices` are missing or no longer intact. Encode them (again), write them, and read again."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__(f"no intact embedding of slices {indices}")
        self.indices = indices


class EmbeddingStore(AbstractContextManager["EmbeddingStore"]):
    """float16 embeddings of `count` slices, each of `shape` (C, h, w). Created by EmbeddingCache.open; closed on exit.

    path: a file made by `create`, or None for memory; alone: its folder's lock, held while a slice is written. Raises
    DamagedFileError, or another OSError if the file is missing or cannot be opened.
    """

    def __init__(
        self, path: Path | None, key: str, count: int, shape: Shape, warn: Warn, alone: AbstractContextManager[object]
    ) -> None:
        self._count, self._shape, self._seed, self._warn = count, shape, zlib.crc32(key.encode()), warn
        self._memory: dict[int, np.ndarray] = {}
        self._intact: set[int] = set()
        self._path, self._start, self._alone, self._lock, self._has_warned = path, 0, alone, threading.Lock(), False
        self._stream: io.FileIO | io.BytesIO = io.BytesIO()
        if path is not None:
            self._stream, self._start = _open(path, key, count, shape)
        self.persistent = path is not None  # whether what is written now will still exist in the next run

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those of `indices` to encode: slices never written, or damaged since (each is read once to check)."""
        space = np.empty(self._shape, "<f2")
        return [index for index in indices if index not in self._intact and not self._get(index, space)]

    def write(self, index: int, embedding: np.ndarray) -> None:
        """Store the embedding (C, h, w), rounded to float16. Never raises because of the disk: memory takes over."""
        self._check_index(index)
        if embedding.shape != self._shape:
            raise ValueError(f"embedding of shape {embedding.shape}, expected {self._shape}")
        half = np.array(embedding, "<f2", order="C")
        try:
            if self.persistent:
                record = np.array((half, self._checksum(index, half)), _record(self._shape))
                with self._alone, self._lock:
                    _write_all(self._stream, self._start + index * record.nbytes, record.tobytes())
                self._intact.add(index)
                return
        except OSError as error:
            self.persistent = False
            self._warn(
                f"The embedding cache cannot be written ({error.strerror or error}); this run keeps further embeddings "
                "in memory, and the next run computes them again. Free some space on the disk."
            )
        self._memory[index] = half

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """Embeddings of the slices, float16 (n, C, h, w). Raises MissingSlicesError, naming all that are not intact."""
        wanted = list(indices)
        result = np.empty((len(wanted), *self._shape), "<f2")
        lost = [index for index, row in zip(wanted, result, strict=True) if not self._get(index, row)]
        if lost:
            raise MissingSlicesError(lost)
        return result

    def __exit__(self, *details: object) -> None:
        """Release file and memory; the store cannot be used afterwards."""
        self._stream.close()
        self._memory.clear()

    close = __exit__

    def _get(self, index: int, row: np.ndarray) -> bool:
        """Fill `row` with the embedding if it exists and is intact; warn of damaged slices once."""
        self._check_index(index)
        if index in self._memory:
            row[:] = self._memory[index]
            return True
        intact = self._read(index, row)
        if intact is False:
            with suppress(OSError), self._alone:  # another process may just have been writing it
                intact = self._read(index, row)
            if not intact and not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"The embedding cache {self._path} holds damaged slices (such as {index}); they are computed "
                    "again. If this recurs, check the disk."
                )
        (self._intact.add if intact else self._intact.discard)(index)
        return bool(intact)

    def _read(self, index: int, row: np.ndarray) -> bool | None:
        """Fill `row` from the file. False if the slice there is damaged; None if it was never written."""
        checksum = np.zeros(1, "<u4")
        with suppress(OSError), self._lock:
            self._stream.seek(self._start + index * (row.nbytes + checksum.nbytes))
            self._stream.readinto(row.data)
            self._stream.readinto(checksum.data)
        return self._checksum(index, row) == int(checksum[0]) if checksum[0] else None

    def _checksum(self, index: int, half: np.ndarray) -> int:
        return zlib.crc32(half.data, zlib.crc32(b"|%d" % index, self._seed)) or 1

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self._count:
            raise IndexError(f"slice {index} of {self._count}")


def create(path: Path, key: str, count: int, shape: Shape) -> None:
    """Create the file of a key, all slices missing. The caller holds the folder's lock. Raises OSError on failure."""
    import h5py

    # HDF5 1.8's headers have checksums (the default's do not), and no flags that a killed process would leave behind.
    plan = io.BytesIO()  # in memory: the library can hang or abort after a failed write (full disk)
    with h5py.File(plan, "w", libver=("v108", "v108")) as content:
        content.attrs["key"] = np.bytes_(key.encode())  # of fixed length, so stored in the header
        slices = content.create_dataset("slices", count, _record(shape))
        slices[0] = np.zeros((), slices.dtype)  # allocates its space in the file
        start, slices_bytes = slices.id.get_offset(), slices.nbytes
    incomplete = path.with_name("incomplete.h5")
    try:
        with incomplete.open("wb", buffering=0) as stream:
            reserve = getattr(os, "posix_fallocate", lambda number, start, length: os.ftruncate(number, length))
            reserve(stream.fileno(), 0, start + slices_bytes)
            _write_all(stream, 0, plan.getvalue()[:start])
            os.fsync(stream.fileno())
        incomplete.replace(path)
    finally:
        incomplete.unlink(missing_ok=True)


def hold(stream: io.IOBase, alone: bool = False) -> None:
    """Protect an open file from eviction; `alone`: raise OSError if another stream holds it."""
    if sys.platform != "win32":  # Windows deletes no open file
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_NB | (fcntl.LOCK_EX if alone else fcntl.LOCK_SH))


def _open(path: Path, key: str, count: int, shape: Shape) -> tuple[io.FileIO, int]:
    """The file, protected from eviction while open, and the offset of the first slice. Raises DamagedFileError."""
    import h5py

    stream = path.open("r+b", buffering=0)
    hold(stream)
    os.utime(path)  # the time of last use, for eviction
    try:
        with h5py.File(path, "r", locking=False) as content:
            slices = content["slices"]
            if (content.attrs["key"], slices.shape, slices.dtype) != (key.encode(), (count,), _record(shape)):
                raise ValueError("it does not hold what its name says")
            return stream, slices.id.get_offset()
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:  # whatever h5py raises
        stream.close()
        raise DamagedFileError(" ".join(str(error).split()) or type(error).__name__) from error


def _record(shape: Shape) -> np.dtype:
    return np.dtype([("embedding", "<f2", shape), ("checksum", "<u4")])


def _write_all(stream: io.IOBase, offset: int, content: bytes) -> None:
    stream.seek(offset)
    view = memoryview(content)
    while view:
        view = view[stream.write(view) :]
