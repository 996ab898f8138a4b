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
LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Bytes; the limits of nearly every file system, and of systems that are not asked for more."""

_pending: set[Path] = set()
_pending_lock = threading.Lock()


def compound_suffix(path: Path) -> str:
    """The suffix in lower case, `.seg.nrrd` and `.nii.gz` as one; dots elsewhere in the name do not count."""
    name = path.name.lower()
    return next((suffix for suffix in COMPOUND_SUFFIXES if name.endswith(suffix)), path.suffix.lower())


def plain_name(path: Path) -> str:
    """The path as text that any library can encode; raises BadInputError where its bytes are no UTF-8.

    Python shows such bytes as lone surrogates, and SimpleITK ends the process that hands it one. Where the locale is
    not UTF-8, the bytes of a good name come as surrogates too, and are put right here.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeError as error:
        shown = str(path).encode("ascii", "backslashreplace").decode("ascii")
        raise BadInputError(
            f"The name {shown} holds bytes that are no UTF-8.", "Rename the file or folder; older zip files cause that."
        ) from error


def check_name(path: Path) -> None:
    """Raise BadInputError where a file cannot have this name: its bytes are no UTF-8, or it is too long."""
    whole = plain_name(path.absolute()).encode()
    if len(whole) > LONGEST_PATH or max(map(len, whole.split(os.sep.encode()))) > LONGEST_NAME:
        raise BadInputError(
            f"The name {path.name[:40]}... is too long.",
            f"Use at most {LONGEST_NAME} bytes for a file or folder, {LONGEST_PATH} in all.",
        )


def pending_files() -> list[Path]:
    """The temporary files now being written by this process, for whoever has to clear them away in a hurry."""
    with _pending_lock:
        return sorted(_pending)


def check_writable(path: Path) -> None:
    """Make sure that `path` can be written, and leave nothing behind.

    Raises BadInputError where the folder is missing or not writable, the name cannot be, or `path` is itself a folder.
    """
    check_name(path)
    path = _target(path)
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

    The suffix is in lower case, as libraries that go by it want it. Where `path` is a link, the file that it leads to
    is replaced and the link stays.
    After an error or an interrupt the temporary file is gone and what stood at `path` before still stands there.
    Raises BadInputError where the folder is missing or not writable.
    """
    path = Path(path)
    check_writable(path)
    path = _target(path)
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


def _target(path: Path) -> Path:
    """The file that is written in the end: where a link leads, also to a file that is yet to be made."""
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise BadInputError(f"The link {path} leads nowhere ({error}).", "Remove it or give another name.") from error


def _temporary_beside(path: Path) -> Path:
    suffix = compound_suffix(path)
    stem = path.name[: len(path.name) - len(suffix)]
    ending = f".partial-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    while len(os.fsencode(stem + ending)) > LONGEST_NAME:
        stem = stem[:-1]
    return path.with_name(stem + ending)


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
