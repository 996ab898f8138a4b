"""Tells whether files have changed since they were read; for everything that is cached about a file."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import DICOM, META_IMAGE, NIFTI, NRRD, OTHER, file_kind, itk_reader
from FewShotSAMLib.core.integrity import data_file_of
from FewShotSAMLib.core.nifti import header_and_data

YOUNG_NS = 3_000_000_000
"""A file changed this recently may change again without a new time stamp: FAT counts in steps of two seconds."""

Facts = tuple[tuple[str, int, int, int, int, int], ...]


class FileIdentity:
    """The state of files, identified by all that the system says of them (device, number, size, times of change) and,
    if a change could have left that as it is, by their content.

    Create it before reading; check `is_same` after reading and before using what was cached. Raises OSError.
    """

    def __init__(self, paths: Sequence[Path], now_ns: Callable[[], int] = time.time_ns) -> None:
        self._paths, self._now_ns = tuple(paths), now_ns
        self._facts = _facts(self._paths)
        self._digest = _digest(self._paths) if self._is_doubtful() else None

    @property
    def is_certain(self) -> bool:
        """Whether the times will reveal any change from now on."""
        return self._digest is None

    @property
    def key(self) -> str:
        """All facts as text."""
        return repr(self._facts)

    def is_same(self) -> bool:
        """Whether the files are unchanged."""
        try:
            if _facts(self._paths) != self._facts:
                return False
            if self._digest is not None:
                if _digest(self._paths) != self._digest:
                    return False
                if not self._is_doubtful():
                    self._digest = None
        except OSError:
            return False
        return True

    def _is_doubtful(self) -> bool:
        newest = max((time for *_, changed, status in self._facts for time in (changed, status)), default=0)
        # Windows has no time of change that programs cannot set.
        return os.name == "nt" or newest > self._now_ns() - YOUNG_NS


def files_of_volume(path: Path) -> tuple[Path, ...] | None:
    """All files that a volume is read from; None if they cannot be listed, as with a DICOM series."""
    try:
        kind = file_kind(path)
        if kind in (NRRD, META_IMAGE):
            return data_file_of(path, kind == NRRD)
        if kind == NIFTI:
            return tuple(dict.fromkeys(header_and_data(path)))
        if kind == DICOM or (kind == OTHER and not itk_reader(path, kind)):
            return None
    except (BadInputError, OSError):
        return None
    return (path,)


def _facts(paths: Sequence[Path]) -> Facts:
    found = ((path.stat(), path) for path in paths)  # stat first: for a link to itself, resolve would not raise OSError
    return tuple(
        (str(path.resolve()), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s, path in found
    )


def _digest(paths: Sequence[Path]) -> bytes:
    digest = hashlib.blake2b(digest_size=20)
    for path in paths:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)  # goes on with the same digest
        digest.update(b"\0end of file\0")
    return digest.digest()
