"""Writes files atomically: a temporary file next to the final one is renamed when it is complete."""

import errno
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError

COMPOUND_SUFFIXES = (".seg.nrrd", ".seg.nhdr", ".nii.gz", ".hdr.gz", ".img.gz", ".tar.gz")
LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Bytes; the limits of nearly every file system, and of operating systems by default."""

_pending: dict[Path, Path] = {}
_pending_lock = threading.Lock()
_commit_lock = threading.RLock()
JOURNAL_SUFFIX = ".commit"
"""Suffix of the file that lists files while they are replaced; worker/watchdog.py reads it after a kill."""
SETTLING_S = 0.5
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)
"""Error numbers of file systems without hard links."""


def compound_suffix(path: Path) -> str:
    """The suffix in lower case, `.seg.nrrd` and `.nii.gz` as one; dots elsewhere in the name do not count."""
    name = path.name.lower()
    return next((suffix for suffix in COMPOUND_SUFFIXES if name.endswith(suffix)), path.suffix.lower())


def plain_name(path: Path) -> str:
    """The path as text that any library can encode; raises BadInputError if its bytes are not UTF-8.

    Python represents such bytes as lone surrogates, and SimpleITK ends a process that passes it one. If the locale is
    not UTF-8, the bytes of a valid name become surrogates, too, and are corrected here.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeError as error:
        shown = str(path).encode("ascii", "backslashreplace").decode("ascii")
        raise BadInputError(
            f"The name {shown} is not valid UTF-8.", "Rename the file or folder; older zip files cause that."
        ) from error


def shown_name(path: Path) -> str:
    """The path as text that can be shown everywhere, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield what is not a folder in a folder and its subfolders, unsorted.

    Raises BadInputError if one cannot be listed, which `Path.rglob` skips silently: slices could be missing.
    """

    def refuse(error: OSError) -> None:
        raise BadInputError(
            f"The folder {error.filename} cannot be read ({error.strerror}).", "Check its permissions."
        ) from error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def check_name(path: Path) -> None:
    """Raise BadInputError if a file cannot have this name: its bytes are not UTF-8, or it is too long."""
    if "\0" in str(path):
        raise BadInputError("A name holds the character 0, which no file can have.", "Give another name.")
    whole = plain_name(path.absolute()).encode()
    if len(whole) > LONGEST_PATH or max(map(len, whole.split(os.sep.encode()))) > LONGEST_NAME:
        raise BadInputError(
            f"The name {path.name[:40]}... is too long.",
            f"Use at most {LONGEST_NAME} bytes for a file or folder, {LONGEST_PATH} in all.",
        )


def clear_pending() -> None:
    """Delete the temporary files that this process is writing now; for ending it in a hurry.

    Files that are just being renamed are finished first, or left for the watchdog to restore.
    """
    if not _commit_lock.acquire(timeout=SETTLING_S):
        return
    try:
        for path in pending_files():
            with suppress(OSError):
                path.unlink(missing_ok=True)
    finally:
        _commit_lock.release()


def pending_files() -> list[Path]:
    """The temporary files now being written by this process."""
    with _pending_lock:
        return sorted(_pending)


def check_writable(path: Path) -> None:
    """Make sure that `path` can be written, and leave nothing behind.

    Raises BadInputError if the folder is missing or not writable, the name is not allowed, or something other than a
    regular file has it: a folder, a device, a pipe.
    """
    check_name(path)
    path = _target(path)
    folder, probe = path.absolute().parent, _temporary_beside(path)
    try:
        if not folder.is_dir():
            raise BadInputError(f"The output folder {folder} does not exist.", "Create it or choose another one.")
        if path.is_dir():
            raise BadInputError(f"The output {path} is a folder.", "Give the name of a file in it.")
        if path.exists() and not path.is_file():
            raise BadInputError(f"The output {path} is a device or a pipe.", "Give the name of a file.")
        # Permission bits say little for administrators, network drives and Windows; only trying is sure.
        handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            os.close(handle)
        finally:
            probe.unlink()
    except OSError as error:
        raise cannot_write(path, error, left=[probe] if os.path.lexists(probe) else ()) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder and with the same suffix; it becomes `path` when the block succeeds.

    The suffix is in lower case, as libraries that go by it expect. If `path` is a link, the file that it leads to
    is replaced and the link stays; so do the permissions of a file that is replaced. A path that an enclosing block
    yielded is written directly.
    After an error or an interrupt the temporary file is gone, and the earlier file at `path` is unchanged.
    Raises BadInputError if the folder is missing or not writable, and for every disk error.
    """
    path = Path(path)
    if path in _pending:
        try:
            yield path
        except OSError as error:
            raise cannot_write(path, error) from error
    else:
        with atomic_paths([path]) as (temporary,):
            yield temporary


@contextmanager
def atomic_paths(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The same for several files: either all of them are replaced, or none is.

    They are renamed in order; if one fails, those before it are restored. After a kill in between, the
    watchdog of the background process restores them.
    """
    for path in paths:
        check_writable(path)
    places = {_temporary_beside(target): target for target in map(_target, paths)}
    with _pending_lock:
        _pending.update(places)
    try:
        try:
            yield list(places)
        except OSError as error:
            raise cannot_write(next(iter(places.values())), error) from error
        for temporary, target in places.items():
            _finish(temporary, target)
        with _commit_lock:
            _put_in_place(places)
    except BaseException as error:
        left = _not_deleted(places)
        if left and isinstance(error, FewShotSAMError):
            raise type(error)(error.message + _left_behind(left), error.hint) from error
        raise
    finally:
        with _pending_lock:
            for temporary in places:
                _pending.pop(temporary, None)


def _finish(temporary: Path, target: Path) -> None:
    """Give a file its permissions and wait until it is on the disk, so that a power cut cannot leave an empty file
    under the final name."""
    try:
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        handle = os.open(temporary, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise cannot_write(target, error) from error


def _put_in_place(places: Mapping[Path, Path]) -> None:
    """Rename all files. With the last rename they are written: a later failure is reported but undoes nothing."""
    targets, earlier, done = list(places.values()), dict[Path, Path | None](), list[Path]()
    target, journal = targets[0], None
    try:
        if len(places) > 1:
            earlier = {each: _temporary_beside(each) if each.exists() else None for each in targets}
            journal = _temporary_beside(target.with_name(f"{target.stem}{JOURNAL_SUFFIX}"))
            rows = [[str(part.absolute()) if part else None for part in (t, p, earlier[p])] for t, p in places.items()]
            journal.write_text(json.dumps(rows), encoding="ascii")
        for target, kept in earlier.items():
            if kept is not None:
                _keep(target, kept)
        for temporary, target in places.items():
            temporary.replace(target)
            done.append(target)
    except BaseException as error:
        written = _put_back(earlier, done)
        stray = _not_deleted([journal, *earlier.values()])
        if not isinstance(error, OSError):
            raise
        raise cannot_write(target, error, written, stray) from error
    _settle(targets, [journal, *earlier.values()])


def _settle(targets: Sequence[Path], needless: Sequence[Path | None]) -> None:
    """Wait until renames are on the disk, and delete what was kept for undoing them. If that fails, raises
    BadInputError, which says that the files are written, and what is left next to them."""
    failures: list[OSError] = []
    for folder in {target.absolute().parent for target in targets}:
        try:
            _synchronise_folder(folder)
        except OSError as error:
            failures.append(error)
    left = _not_deleted(needless, failures)
    if failures:
        reason = _reason(failures[0])
        message = f"{_listed(targets)}: written and complete, but the disk reported an error after that ({reason})."
        raise BadInputError(
            message + _left_behind(left), "Check the disk, and delete what is left behind, if anything."
        )


def _not_deleted(paths: Iterable[Path | None], failures: list[OSError] | None = None) -> list[Path]:
    """Delete files; returns those that could not be deleted, and adds their errors to `failures`."""
    left: list[Path] = []
    for path in filter(None, paths):
        try:
            if os.path.lexists(path):
                path.unlink()
        except OSError as error:
            left.append(path)
            if failures is not None:
                failures.append(error)
    return left


def _left_behind(paths: Sequence[Path]) -> str:
    return f" Left behind: {_listed(paths)}." if paths else ""


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def _keep(target: Path, kept: Path) -> None:
    """Give a file a second name by a hard link; rename it if the file system has none."""
    try:
        os.link(target, kept)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        target.replace(kept)


def _put_back(earlier: Mapping[Path, Path | None], done: Sequence[Path]) -> list[Path]:
    """Undo the renames as far as the disk allows; returns the files that could not be restored."""
    left = []
    for target, kept in earlier.items():
        try:
            if kept is not None and kept.exists():
                kept.replace(target)
                kept.unlink(missing_ok=True)  # if both are still the same file, replace did nothing
            elif kept is None and target in done:
                target.unlink(missing_ok=True)
        except OSError:
            left.append(target)
    return left


def _target(path: Path) -> Path:
    """The file that is really written: the target of a link, even if that does not exist yet."""
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


def _synchronise_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders; its rename is durable by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # network file systems without this call
            raise
    finally:
        os.close(handle)


def cannot_write(
    path: Path, error: Exception, written: Sequence[Path] = (), left: Sequence[Path] = ()
) -> BadInputError:
    """The error for an output that cannot be written because of a full or broken disk, or of another program.

    written: files that could not be put back; left: temporary files that could not be deleted.
    """
    final = _pending.get(path, path)
    number = getattr(error, "errno", None)
    hint = "Free some space on the disk or choose another folder."
    if number not in (errno.ENOSPC, errno.EDQUOT, None):
        hint = "Choose another folder, or close the program that has the file open."
    message = f"{final} cannot be written ({_reason(error)})."
    if written:
        message += f" Written all the same: {_listed(written)}."
    return BadInputError(message + _left_behind(left), hint)
