"""The embedding cache: a folder of one file per volume, kept below a size limit, oldest use evicted first.

Trouble with the folder (full, read-only, locked, damaged) never fails a run: embeddings are then kept in memory, and
one warning says so. Looking at the folder needs no h5py; it is imported when a store is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import platformdirs

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.sam.embedding_store import EmbeddingStore, MissingSlicesError

if TYPE_CHECKING:
    from FewShotSAMLib.sam.embedding_file import Slots, VolumeFile

__all__ = ["CacheEntry", "EmbeddingCache", "EmbeddingStore", "MissingSlicesError", "default_folder", "default_limit"]

FOLDER_VARIABLE = "FEWSHOTSAM_CACHE"
LIMIT_VARIABLE = "FEWSHOTSAM_CACHE_LIMIT_GB"
DEFAULT_LIMIT_GB = 20.0
SPARE_BYTES = 64 << 20
"""Free space that the cache always leaves on its disk."""
_SUFFIX = ".h5"


@dataclass(frozen=True)
class CacheEntry:
    """One file of the cache: a volume's embeddings, or (damaged) one that was set aside. Time in seconds since 1970."""

    path: Path
    volume_hash: str
    size_bytes: int
    last_used: float
    is_damaged: bool


def default_folder() -> Path:
    """FEWSHOTSAM_CACHE, or the platform's folder for caches."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("FewShotSAM", appauthor=False))


def default_limit() -> int:
    """The size limit in bytes: FEWSHOTSAM_CACHE_LIMIT_GB, or 20 GB. Raises BadInputError where that is no number."""
    text = os.environ.get(LIMIT_VARIABLE, "") or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise BadInputError(f"{LIMIT_VARIABLE}={text} is no size.", "Set it to a number of gigabytes, such as 20.")
    return int(limit * 1e9)


class EmbeddingCache:
    """The cache in `folder` (None: the default one) with at most `limit_bytes` (None: the default; 0: memory only)."""

    def __init__(
        self,
        folder: Path | None = None,
        limit_bytes: int | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder or default_folder()
        self.limit_bytes = default_limit() if limit_bytes is None else limit_bytes
        self._warn = warn

    def open(self, volume_hash: str, key: str, count: int, shape: tuple[int, int, int]) -> EmbeddingStore:
        """The embeddings of a volume of `count` slices, each (C, h, w) = `shape`, made in the way that `key` names.

        What earlier runs stored is there. Never fails for the folder's sake: the store is in memory instead.
        """
        slots = None
        if self.limit_bytes > 0:
            slots = self._open_file(volume_hash, key, count, shape)
        return EmbeddingStore(slots, count, shape, self._warn)

    def usage(self) -> int:
        """Bytes that all files of the cache take."""
        return sum(entry.size_bytes for entry in self.entries())

    def entries(self) -> list[CacheEntry]:
        """The files of the cache, least recently used first, set-aside ones before all others."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}*") if self.folder.is_dir() else []:
            name, _, rest = path.name.partition(_SUFFIX)
            is_damaged = rest.startswith(".damaged-")
            if rest and not is_damaged:
                continue
            try:
                facts = path.stat()
            except OSError:  # another process evicted it
                continue
            found.append(CacheEntry(path, name, facts.st_size, facts.st_mtime, is_damaged))
        return sorted(found, key=lambda entry: (not entry.is_damaged, entry.last_used))

    def clear(self) -> int:
        """Delete every file that no process is using; returns the bytes freed."""
        return sum(_evict(entry) for entry in self.entries())

    def _open_file(self, volume_hash: str, key: str, count: int, shape: tuple[int, int, int]) -> Slots | None:
        """The key's places in the volume's file; None, with a warning, where there can be none."""
        from FewShotSAMLib.sam.embedding_file import CacheUnusableError, VolumeFile

        file = None
        try:
            file = VolumeFile.acquire(self.folder / f"{_file_stem(volume_hash)}{_SUFFIX}")
            return file.slots(key, count, shape, self._make_room, self._warn)
        except (OSError, CacheUnusableError) as error:
            if file is not None:
                file.release()
            reason = getattr(error, "strerror", None) or str(error)
            self._warn(
                f"The embedding cache in {self.folder} cannot be used for this volume ({reason}); this run keeps its "
                "embeddings in memory, and the next run computes them again."
            )
            return None

    def _make_room(self, file: VolumeFile, needed: int) -> None:
        """Evict until `needed` more bytes fit below the limit and on the disk; CacheUnusableError if they cannot."""
        from FewShotSAMLib.sam.embedding_file import CacheUnusableError

        if needed > self.limit_bytes:
            raise CacheUnusableError(
                f"it needs {needed / 1e9:.2f} GB, more than the limit of {self.limit_bytes / 1e9:.2f} GB; raise the "
                f"limit of the cache, or {LIMIT_VARIABLE}"
            )
        own = file.path.stat().st_size if file.path.exists() else 0
        if own + needed > self.limit_bytes and file.users == 1:
            file.remove()  # other settings of this same volume, none of them in use
        others = [entry for entry in self.entries() if entry.path != file.path]
        while self._lacking(needed) > 0 and others:
            _evict(others.pop(0))
        if self.usage() + needed > self.limit_bytes:
            raise CacheUnusableError("the limit is reached by files that are in use")
        if self._lacking(needed) > 0:
            raise CacheUnusableError(f"the disk is full; {needed / 1e9:.2f} GB are needed")

    def _lacking(self, needed: int) -> int:
        """Bytes by which `needed` more would pass the limit or the space on the disk."""
        over_limit = self.usage() + needed - self.limit_bytes
        return max(over_limit, needed + SPARE_BYTES - shutil.disk_usage(self.folder).free)


def _file_stem(volume_hash: str) -> str:
    """The volume's hash as a file name; anything that is not plainly one is hashed first."""
    if re.fullmatch(r"[0-9a-zA-Z_-]{1,64}", volume_hash):
        return volume_hash
    return hashlib.sha256(volume_hash.encode()).hexdigest()


def _evict(entry: CacheEntry) -> int:
    """Delete a file unless a process (this one included) holds it; returns the bytes freed."""
    if entry.is_damaged:  # nobody opens these again, so there is nothing to wait for
        return _delete(entry)
    lock = filelock.FileLock(entry.path.with_name(f"{entry.volume_hash}{_SUFFIX}.lock"))
    try:
        lock.acquire(timeout=0)
    except (filelock.Timeout, OSError, NotImplementedError):
        return 0
    try:
        return _delete(entry)
    finally:
        lock.release()


def _delete(entry: CacheEntry) -> int:
    try:
        entry.path.unlink(missing_ok=True)
    except OSError:
        return 0
    return entry.size_bytes
