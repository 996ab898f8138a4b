"""The embedding cache: a folder with a file per volume and key, within a size limit, least recently used evicted first.

Problems with the folder (full, read-only, damaged) never fail a run: embeddings are then kept in memory, with one
warning. Inspecting the folder needs no h5py, which is imported when a store is opened. Processes share the files: each
reads what others wrote. The folder's lock is held while a file is made, evicted or set aside, and while a slice is
written; open files are not evicted.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import filelock
import platformdirs

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.sam.embedding_store import DamagedFileError, EmbeddingStore, MissingSlicesError, Warn, create, hold

__all__ = ["CacheEntry", "EmbeddingCache", "EmbeddingStore", "MissingSlicesError", "default_folder", "default_limit"]

LIMIT_VARIABLE = "FEWSHOTSAM_CACHE_LIMIT_GB"
SPARE_BYTES = 64 << 20  # free space that the cache always leaves on the disk
_NAME = re.compile(r"(?P<stem>[^.]+)(\.[0-9a-f]{32})?(\.h5|\.weights)(?P<damaged>\.damaged-.*)?")


@dataclass(frozen=True)
class CacheEntry:
    """A volume's embeddings, what was learned for a few-shot model, or a volume's set-aside files (is_damaged). path:
    its most recently used file; name: a hash; last_used: in seconds since 1970."""

    path: Path
    name: str
    size_bytes: int
    last_used: float
    is_damaged: bool


def default_folder() -> Path:
    """FEWSHOTSAM_CACHE, or the platform's folder for caches."""
    chosen = os.environ.get("FEWSHOTSAM_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("FewShotSAM", appauthor=False))


def default_limit() -> int:
    """The size limit in bytes: FEWSHOTSAM_CACHE_LIMIT_GB, or 20 GB. Raises BadInputError if that is not a size."""
    text = os.environ.get(LIMIT_VARIABLE) or "20"
    with suppress(ValueError):
        if 0 <= (limit := float(text)) <= 1e6:
            return int(limit * 1e9)
    raise BadInputError(f"{LIMIT_VARIABLE}={text} is not a size.", "Set it to a number of gigabytes, such as 20.")


class EmbeddingCache:
    """The cache in `folder` (None: the default one) with at most `limit_bytes` (None: the default; 0: memory only)."""

    def __init__(
        self, folder: Path | None = None, limit_bytes: int | None = None, warn: Warn = lambda text: None
    ) -> None:
        self.folder = folder or default_folder()
        self.limit_bytes = default_limit() if limit_bytes is None else limit_bytes
        self._warn = warn
        self._alone = filelock.FileLock(self.folder / ".lock", timeout=10)  # others hold it only briefly

    def open(self, volume_hash: str, key: str, count: int, shape: tuple[int, int, int]) -> EmbeddingStore:
        """The embeddings of a volume of `count` slices, each (C, h, w) = `shape`, computed as `key` describes.

        Includes what earlier runs stored. Never fails because of the folder: the store is in memory instead.
        """
        if self.limit_bytes > 0:
            try:
                return self._open_file(volume_hash, key, count, shape)
            except (OSError, NotImplementedError) as error:  # the latter for a file system without locks
                reason = getattr(error, "strerror", None) or str(error)
                self._warn(
                    f"The embedding cache in {self.folder} cannot be used for this volume ({reason}); this run keeps "
                    "its embeddings in memory, and the next run computes them again."
                )
        return EmbeddingStore(None, key, count, shape, self._warn, self._alone)

    def usage(self) -> int:
        """Total size of the cache's files, in bytes."""
        return sum(file.size_bytes for file in self._files())

    def entries(self) -> list[CacheEntry]:
        """The entries of the cache, least recently used first, set-aside files before all others."""
        found: dict[tuple[str, bool], CacheEntry] = {}
        for file in self._files():  # sorted: each volume's and all volumes' most recent files come last
            others = found.pop((file.name, file.is_damaged), None)
            size_bytes = file.size_bytes + (others.size_bytes if others else 0)
            found[file.name, file.is_damaged] = replace(file, size_bytes=size_bytes)
        return list(found.values())

    def clear(self) -> int:
        """Delete all files that no process is using; returns the bytes freed."""
        freed = 0
        if self.folder.is_dir():
            with suppress(OSError, NotImplementedError), self._alone:
                freed = sum(map(_evict, self._files()))
        return freed

    def make_room(self, needed: int) -> None:
        """Evict files until `needed` more bytes fit below the limit and on the disk. Raises OSError if they cannot."""
        if needed > self.limit_bytes:
            raise OSError(
                f"it needs {needed / 1e9:.2f} GB, more than the limit of {self.limit_bytes / 1e9:.2f} GB; raise the "
                f"limit of the cache, or {LIMIT_VARIABLE}"
            )
        with self._alone:
            files = self._files()
            after = sum(file.size_bytes for file in files) + needed
            while (is_over := after > self.limit_bytes) or needed + SPARE_BYTES > shutil.disk_usage(self.folder).free:
                if not files:
                    full = f"the disk is full; {needed / 1e9:.2f} GB are needed"
                    raise OSError("the limit is reached by files that are in use" if is_over else full)
                after -= _evict(files.pop(0))

    def _files(self) -> list[CacheEntry]:
        """An entry for each file, in the order of eviction."""
        found = []
        for path in self.folder.iterdir() if self.folder.is_dir() else []:
            if name := _NAME.fullmatch(path.name):
                with suppress(OSError):  # another process evicted it
                    facts, is_damaged = path.stat(), name["damaged"] is not None
                    found.append(CacheEntry(path, name["stem"], facts.st_size, facts.st_mtime, is_damaged))
        return sorted(found, key=lambda file: (not file.is_damaged, file.last_used))

    def _open_file(self, volume_hash: str, key: str, count: int, shape: tuple[int, int, int]) -> EmbeddingStore:
        """A store with the key's file, existing or new; a damaged file is set aside. Raises OSError if that fails."""
        is_plain = re.fullmatch(r"[0-9a-zA-Z_-]{1,64}", volume_hash)
        stem = volume_hash if is_plain else hashlib.sha256(volume_hash.encode()).hexdigest()
        path = self.folder / f"{stem}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.h5"
        store = partial(EmbeddingStore, path, key, count, shape, self._warn, self._alone)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone:
            try:
                return store()
            except FileNotFoundError:
                pass
            except DamagedFileError as problem:
                aside = path.replace(f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
                self._warn(
                    f"The embedding cache of this volume is damaged ({problem}). It was set aside as {aside} and is "
                    "computed again; that file can be deleted."
                )
            self.make_room(count * math.prod(shape) * 2 + (64 << 10))  # 64 KiB: more than the rest of a file takes
            create(path, key, count, shape)
            return store()


def _evict(file: CacheEntry) -> int:
    """Delete a file unless any process has it open; returns the bytes freed. The caller holds the lock."""
    with suppress(OSError):
        with file.path.open("r+b") as stream:
            hold(stream, alone=True)
        file.path.unlink()
        return file.size_bytes
    return 0
