"""The folder of a session's files, patients' images among them: deleted with it, or after a crash by the next one."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from FewShotSAMLib.core.errors import BadInputError

PREFIX = "fewshotsam-"
LOCK_SUFFIX = ".lock"
AUTOSAVE = "autosave"
"""The subfolder of a job folder in which `autosave` saves the work."""
KEPT_S = 14 * 24 * 3600
"""How long saved work is offered to later sessions, in seconds."""
ATTEMPTS = 10


class LockedFolder:
    """The folder of a session whose lock this process holds: its own, or that of a process that has died."""

    def __init__(self, lock: Path, stream: IO[bytes]) -> None:
        self.path = lock.with_name(lock.name.removesuffix(LOCK_SUFFIX))
        self._lock, self._stream = lock, stream

    def release(self) -> None:
        """Release the lock, so that another process may take it."""
        self._stream.close()

    def delete(self) -> None:
        """Delete the folder with all its files, then its lock; the next start deletes what cannot be deleted now."""
        shutil.rmtree(self.path, ignore_errors=True)
        is_gone = not self.path.exists()
        if is_gone and sys.platform != "win32":
            self._lock.unlink(missing_ok=True)
        self.release()
        if is_gone and sys.platform == "win32":  # where an open file cannot be deleted
            with contextlib.suppress(OSError):
                self._lock.unlink(missing_ok=True)


class JobFolder(LockedFolder):
    """A new folder in `parent` (None: the system's temporary folder) that only the user can read.

    Next to it is a file that this process keeps locked as long as it lives, so that the next process knows which
    folders have lost their owner, and deletes them. Raises BadInputError if nothing can be written.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = _parent(parent)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            clear_abandoned(parent)
            # The lock comes first, so that at any moment a folder whose lock is free has lost its owner.
            super().__init__(*_new_lock(parent))
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise BadInputError(
                f"The temporary folder {parent} cannot be written ({error.strerror}).",
                "Free some space on its disk, or choose another temporary folder.",
            ) from error

    def close(self, keep_work: bool = False) -> None:
        """Delete the folder with all its files; keep_work: leave saved work, if any, for the next session."""
        if keep_work and _holds_work(self.path):
            self.release()  # `abandoned` finds the folder, and deletes everything else in it
            clear_abandoned(self.path.parent)
        else:
            self.delete()


def abandoned(parent: Path | None) -> list[LockedFolder]:
    """The folders in `parent` with saved work of a session whose process died. Everything else in them is deleted,
    patients' images above all."""
    found = []
    for each in _abandoned(_parent(parent)):
        if not _holds_work(each.path):
            each.delete()
            continue
        for path in each.path.iterdir():
            if path.name != AUTOSAVE:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        found.append(each)
    return found


def clear_abandoned(parent: Path) -> None:
    """Delete the folders in `parent` whose processes have died, except those with saved work to offer; leave other
    users' folders alone."""
    for each in abandoned(parent):
        each.release()


def _abandoned(parent: Path) -> Iterator[LockedFolder]:
    for lock in parent.glob(f"{PREFIX}*{LOCK_SUFFIX}"):
        try:
            if lock.is_symlink() or not lock.is_file() or (os.name == "posix" and lock.stat().st_uid != os.getuid()):
                continue  # another user's
            stream = lock.open("r+b")
        except OSError:
            continue  # deleted meanwhile
        if _take(stream):
            yield LockedFolder(lock, stream)
        else:
            stream.close()


def _holds_work(folder: Path) -> bool:
    record = folder / AUTOSAVE / "record.json"
    try:
        return record.is_file() and time.time() - record.stat().st_mtime < KEPT_S
    except OSError:
        return False


def _parent(parent: Path | None) -> Path:
    return Path(tempfile.gettempdir()) if parent is None else parent


def _new_lock(parent: Path) -> tuple[Path, IO[bytes]]:
    for _ in range(ATTEMPTS):
        path = parent / f"{PREFIX}{secrets.token_hex(6)}{LOCK_SUFFIX}"
        stream = path.open("xb")
        if _take(stream) and path.exists():
            break
        stream.close()  # another process was faster in clearing up: it deletes the file
    else:  # a file system without locks, where nobody can take this folder for abandoned either
        stream = path.open("wb")
    stream.write(f"{os.getpid()}\n".encode())
    stream.flush()
    return path, stream


def _take(stream: IO[bytes]) -> bool:
    """Lock an open file until it is closed or this process ends; False if another process holds the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
