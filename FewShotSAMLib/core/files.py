"""Writes files whole or not at all: a temporary file beside the final one, renamed when it is complete."""

import errno
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError

COMPOUND_SUFFIXES = (".seg.nrrd", ".seg.nhdr", ".nii.gz", ".img.gz", ".tar.gz")

_pending: set[Path] = set()
_pending_lock = threading.Lock()


def compound_suffix(path: Path) -> str:
    """The suffix in lower case, `.seg.nrrd` and `.nii.gz` as one; dots elsewhere in the name do not count."""
    name = path.name.lower()
    return next((suffix for suffix in COMPOUND_SUFFIXES if name.endswith(suffix)), path.suffix.lower())


def pending_files() -> list[Path]:
    """The temporary files now being written by this process, for whoever has to clear them away in a hurry."""
    with _pending_lock:
        return sorted(_pending)


def check_writable(path: Path) -> None:
    """Make sure that `path` can be written, and leave nothing behind.

    Raises BadInputError where the folder is missing or not writable, or `path` is itself a folder.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise BadInputError(f"The output folder {folder} does not exist.", "Create it or choose another one.")
    if path.is_dir():
        raise BadInputError(f"The output {path} is a folder.", "Give the name of a file in it.")
    probe = _temporary_beside(path)
    try:
        # Permission bits say little for administrators, network drives and Windows; only trying is sure.
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder and with the same suffix; it becomes `path` when the block succeeds.

    After an error or an interrupt the temporary file is gone and what stood at `path` before still stands there.
    Raises BadInputError where the folder is missing or not writable.
    """
    path = Path(path)
    check_writable(path)
    temporary = _temporary_beside(path)
    with _pending_lock:
        _pending.add(temporary)
    try:
        yield temporary
        _synchronise(temporary)
        try:
            temporary.replace(path)
        except OSError as error:
            raise _cannot_write(path, error) from error
        _synchronise_folder(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)
        with _pending_lock:
            _pending.discard(temporary)


def _temporary_beside(path: Path) -> Path:
    suffix = path.name[len(path.name) - len(compound_suffix(path)) :]
    stem = path.name[: len(path.name) - len(suffix)]
    return path.with_name(f"{stem}.partial-{os.getpid()}-{secrets.token_hex(4)}{suffix}")


def _synchronise(path: Path) -> None:
    """Wait until the file's content is on the disk, so that a power cut cannot leave an empty file with a good name."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _synchronise_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders; its rename is durable by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # network file systems that know no such call
            raise
    finally:
        os.close(handle)


def _cannot_write(path: Path, error: OSError) -> BadInputError:
    hint = "Free some space on the disk or choose another folder."
    if error.errno != errno.ENOSPC:
        hint = "Choose another folder, or close the program that has the file open."
    return BadInputError(f"{path} cannot be written ({error.strerror or error}).", hint)
