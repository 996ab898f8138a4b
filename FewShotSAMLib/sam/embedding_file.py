"""One volume's embeddings on disk: an HDF5 file with its structure made first and its slices written in place later.

Layout: a group per key (named by the key's hash, attribute `key`), in it `embeddings` float16 (slices, C, h, w) and
`checksums` uint32 (slices). Both are contiguous with their space reserved when the group is made, so slices are written
to known places by plain file calls: neither a kill nor a full disk can then break the structure. Any HDF5 reader opens
the file. A slice counts only if its checksum (never 0, seeded with key and slice number) fits its bytes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import h5py
import numpy as np

from FewShotSAMLib.sam.overlay import OverlayFile

Warn = Callable[[str], None]
MakeRoom = Callable[["VolumeFile", int], None]

STRUCTURE_BYTES = 64 << 10
"""More than the headers of one group take."""
_FORMAT = ("v108", "v108")
"""HDF5 1.8's headers carry checksums (the default's do not), and need no flags that a killed process leaves behind."""
_H5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)
"""What h5py raises for a damaged file."""
_MARK = np.dtype("<u4")
_HALF = np.dtype("<f2")


class CacheUnusableError(Exception):
    """This volume's file cannot be used now; the message says why."""


@dataclass
class Slots:
    """The places of one key's slices within a volume's file."""

    file: VolumeFile
    key: str
    slice_shape: tuple[int, int, int]
    data_offset: int
    mark_offset: int
    marks: np.ndarray = field(repr=False)

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice's float16 embedding."""
        return int(np.prod(self.slice_shape)) * _HALF.itemsize

    def is_marked(self, index: int) -> bool:
        """Whether a slice was written, be it intact or not."""
        return bool(self.marks[index])

    def read(self, index: int) -> np.ndarray | None:
        """The embedding of one slice, float16 (C, h, w); None unless it is there and its checksum fits."""
        if not self.is_marked(index):
            return None
        try:
            content = self.file.read_at(self.data_offset + index * self.slice_bytes, self.slice_bytes)
        except OSError:
            return None
        if self._checksum(index, content) != self.marks[index]:
            return None
        return np.frombuffer(content, _HALF).reshape(self.slice_shape)

    def write(self, index: int, embedding: np.ndarray) -> None:
        """Write one slice, then its mark. Raises OSError where the disk refuses; the slice then counts as missing."""
        content = np.ascontiguousarray(embedding, _HALF).tobytes()
        mark = np.array(self._checksum(index, content), _MARK)
        self.file.write_at(self.data_offset + index * self.slice_bytes, content)
        self.file.write_at(self.mark_offset + index * _MARK.itemsize, mark.tobytes())
        self.marks[index] = mark

    def _checksum(self, index: int, content: bytes) -> int:
        return zlib.crc32(content, zlib.crc32(f"{self.key}|{index}".encode())) or 1


class VolumeFile:
    """A volume's file, locked for this process and shared by its stores: `acquire` it, `release` it."""

    _open: dict[Path, VolumeFile] = {}  # noqa: RUF012 - this process's one table of open files
    _table_lock = threading.RLock()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users = 0
        self._lock = volume_lock(path)
        self._stream_lock = threading.Lock()
        self._stream = -1

    @classmethod
    def acquire(cls, path: Path) -> VolumeFile:
        """The volume's file (which need not exist yet). Raises CacheUnusableError while another process holds it."""
        path = path.absolute()
        with cls._table_lock:
            file = cls._open.get(path)
            if file is None:
                file = cls(path)
                file._take_lock()
                cls._open[path] = file
            file.users += 1
            return file

    def release(self) -> None:
        """Give it back; the last user closes the file and unlocks it."""
        with self._table_lock:
            self.users -= 1
            if self.users == 0:
                del self._open[self.path]
                self._close_stream()
                self._lock.release()

    def slots(self, key: str, count: int, slice_shape: tuple[int, int, int], make_room: MakeRoom, warn: Warn) -> Slots:
        """The places of `count` slices of this key, found or newly reserved.

        `make_room(file, bytes)` is called before the file grows and may raise CacheUnusableError. A damaged file is
        set aside first, and `warn` is told. Raises OSError or CacheUnusableError where no file can be had.
        """
        with self._table_lock:
            found = self._find_or_set_aside(key, count, slice_shape, warn)
            if found is None:
                make_room(self, count * int(np.prod(slice_shape)) * _HALF.itemsize + STRUCTURE_BYTES)
                self._add_group(key, count, slice_shape)
                found = self._find(key, count, slice_shape)
            if found is None:
                raise CacheUnusableError("its new group cannot be found again")
            self._open_stream()
            found.marks = np.frombuffer(self.read_at(found.mark_offset, count * _MARK.itemsize), _MARK).copy()
            os.utime(self.path)  # the time of last use, for eviction
            return found

    def remove(self) -> None:
        """Delete the file (its only user wants its space)."""
        self._close_stream()
        self.path.unlink(missing_ok=True)
        _dirty_mark(self.path).unlink(missing_ok=True)

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises OSError where the file is shorter or unreadable."""
        with self._stream_lock:
            os.lseek(self._stream, offset, os.SEEK_SET)
            pieces = []
            while length > 0:
                piece = os.read(self._stream, length)
                if not piece:
                    raise OSError(errno.EIO, "the file is shorter than its structure says")
                pieces.append(piece)
                length -= len(piece)
        return b"".join(pieces)

    def write_at(self, offset: int, content: bytes) -> None:
        """Write all of `content`. Raises OSError where the disk refuses."""
        with self._stream_lock:
            _write_all(self._stream, offset, content)

    def _take_lock(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise CacheUnusableError("another process is using it") from error
        except NotImplementedError as error:  # a file system without locks
            raise CacheUnusableError("its file system has no locks") from error

    def _open_stream(self) -> None:
        if self._stream < 0:
            self._stream = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        elif not os.path.samestat(os.fstat(self._stream), self.path.stat()):
            raise CacheUnusableError("its file was replaced while in use")

    def _close_stream(self) -> None:
        if self._stream >= 0:
            with suppress(OSError):
                os.close(self._stream)
            self._stream = -1

    def _find_or_set_aside(self, key: str, count: int, slice_shape: tuple[int, int, int], warn: Warn) -> Slots | None:
        """The existing places; None if the file is new, lacks this key, or was damaged and is now set aside."""
        if not self.path.exists():
            return None
        problem = ""
        if _dirty_mark(self.path).exists():
            problem = "a run was interrupted while changing its structure"
        else:
            try:
                return self._find(key, count, slice_shape)
            except _H5_ERRORS as error:
                problem = " ".join(str(error).split()) or type(error).__name__
        if self.users > 1:  # another store of this run still writes to it
            raise CacheUnusableError(f"its file is damaged: {problem}")
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self._close_stream()
        self.path.replace(aside)
        _dirty_mark(self.path).unlink(missing_ok=True)
        warn(
            f"The embedding cache of this volume is damaged ({problem}). It was set aside as {aside} and is computed "
            "again; that file can be deleted."
        )
        return None

    def _find(self, key: str, count: int, slice_shape: tuple[int, int, int]) -> Slots | None:
        """Where this key's data lie; None if the file lacks the key. Raises one of _H5_ERRORS for a damaged file."""
        size = self.path.stat().st_size
        with h5py.File(self.path, "r", locking=False) as content:
            name = _group_name(key)
            if name not in content:
                return None
            group = content[name]
            data, marks = group["embeddings"], group["checksums"]
            fits = data.shape == (count, *slice_shape) and data.dtype == _HALF and marks.dtype == _MARK
            if group.attrs["key"] != key or not fits or marks.shape != (count,):
                raise ValueError("a group does not hold what its name says")
            places = Slots(self, key, slice_shape, data.id.get_offset(), marks.id.get_offset(), np.zeros(0, _MARK))
        ends = places.data_offset + count * places.slice_bytes, places.mark_offset + count * _MARK.itemsize
        if max(ends) > size:
            raise ValueError("it is truncated")
        return places

    def _add_group(self, key: str, count: int, slice_shape: tuple[int, int, int]) -> None:
        """Make the structure for one more key: planned in memory, then written between two states of the dirty mark."""
        plan = OverlayFile(self.path)
        try:
            with h5py.File(plan, "r+" if self.path.exists() else "w", libver=_FORMAT) as content:
                group = content.create_group(_group_name(key))
                group.attrs["key"] = key
                _reserve_dataset(group, "embeddings", (count, *slice_shape), _HALF, fill=False)
                _reserve_dataset(group, "checksums", (count,), _MARK, fill=True)
        finally:
            plan.close()
        self._apply(plan)

    def _apply(self, plan: OverlayFile) -> None:
        existed = self.path.exists()
        old_size = self.path.stat().st_size if existed else 0
        stream = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            # The space comes first: where the disk is full, this fails, and the old structure is untouched.
            _reserve(stream, old_size, plan.size)
            _dirty_mark(self.path).touch()
            for offset, piece in plan.changes():
                _write_all(stream, offset, piece)
            os.fsync(stream)
            _dirty_mark(self.path).unlink()
        except OSError:
            if not existed:
                with suppress(OSError):
                    self.path.unlink()
                    _dirty_mark(self.path).unlink(missing_ok=True)
            raise
        finally:
            os.close(stream)


def volume_lock(path: Path) -> filelock.FileLock:
    """The lock of a volume's file: a file of its own, so that it outlives eviction."""
    return filelock.FileLock(path.with_name(path.name + ".lock"))


def _dirty_mark(path: Path) -> Path:
    return path.with_name(path.name + ".dirty")


def _group_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _reserve_dataset(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype, fill: bool) -> None:
    """A contiguous dataset whose place in the file is fixed now; without `fill` its bytes are left as they are."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC if fill else h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.py_create(dtype, logical=True), space, properties)


def _reserve(stream: int, old_size: int, size: int) -> None:
    """Let the file grow to `size`, with its blocks really taken where the system can do that.

    Raises OSError where there is no room; the file then has its old size again.
    """
    try:
        if hasattr(os, "posix_fallocate") and size > old_size:
            os.posix_fallocate(stream, old_size, size - old_size)
        else:
            os.ftruncate(stream, size)
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(stream, old_size)
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        os.ftruncate(stream, size)


def _write_all(stream: int, offset: int, content: bytes) -> None:
    os.lseek(stream, offset, os.SEEK_SET)
    view = memoryview(content)
    while view:
        view = view[os.write(stream, view) :]
