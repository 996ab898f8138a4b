"""The state of a row's result from an earlier call: whether it exists, is complete and up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from FewShotSAMLib.cohort.plan import Row
from FewShotSAMLib.cohort.table import entry_of
from FewShotSAMLib.core.files import cannot_write, check_writable
from FewShotSAMLib.core.plain_json import loads_with_digest

ROWS = "cohort-rows"
"""Folder of each row's report and picture."""
MISSING, DONE, OTHER = "missing", "done", "other"
"""States of a result: not there; there; there, but made from other files or options, or not by a cohort."""
_HAPPENS_TO_BE = frozenset(
    {"device", "cache", "cache_limit_gb", "no_cache", "volume", "annotation", "model", "warm_start", "models"}
)
"""Parameters that do not distinguish results: where they were computed and the paths of files, whose content counts."""
_IN_PARTS = (".nhdr", ".mhd", ".hdr", ".img")
"""Formats whose voxels are in a separate file next to the header."""
_PIECE, _PIECES = 4096, 8


@dataclass(frozen=True)
class CohortPaths:
    """The files of a cohort in its folder."""

    folder: Path

    @property
    def rows(self) -> Path:
        """The folder of each row's report and picture."""
        return self.folder / ROWS

    @property
    def table(self) -> Path:
        """The table of all rows."""
        return self.folder / "cohort.csv"

    @property
    def page(self) -> Path:
        """The same with pictures."""
        return self.folder / "cohort.html"

    def record(self, row: Row) -> Path:
        """A row's report."""
        return self.rows / f"{row.name}.json"

    def strip(self, row: Row) -> Path:
        """A row's picture."""
        return self.rows / f"{row.name}.jpg"

    def make(self) -> None:
        """Make the folders. Raises BadInputError."""
        try:
            self.rows.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        check_writable(self.table)

    def files_of(self, row: Row, key: str) -> dict[str, str]:
        """Parameters of the files that a row's job writes."""
        files = {"output": row.output(self.folder), "record": self.record(row), "strip": self.strip(row)}
        return {**{name: str(path) for name, path in files.items()}, "made_of": key}


def key_of(row: Row, parameters: Mapping[str, Any]) -> str:
    """Return a hash of what a result is made from: the files by content (the volume by size, time and samples, as there
    may be thousands to read), and all options that make a difference."""
    files = {name: _identity(path) if name == "volume" else _digest(path) for name, path in row.inputs.items()}
    if checkpoint := parameters.get("checkpoint"):
        files["checkpoint"] = _digest(Path(checkpoint))
    options = {name: value for name, value in parameters.items() if name not in _HAPPENS_TO_BE | files.keys()}
    text = json.dumps([row.command, row.suffix, files, options], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def row_status(row: Row, key: str, paths: CohortPaths) -> tuple[str, dict[str, Any] | None]:
    """Return MISSING, DONE or OTHER, and the report of a result that is done.

    The report is renamed into place first and the result after it. So a result without a report was not made by a
    cohort, one older than the report says is from the run before, and a newer one was corrected by the user since.
    """
    try:
        result = row.output(paths.folder).stat()
    except FileNotFoundError:
        return MISSING, None
    try:
        record = loads_with_digest(paths.record(row).read_text(encoding="utf-8"))
        modified, made_of = int(record["written"]["modified_ns"]), str(record["made_of"])
        entry_of(row.name, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return OTHER, None
    if result.st_mtime_ns < modified:
        return MISSING, None
    return (DONE, record) if made_of == key else (OTHER, None)


def _identity(path: Path) -> Any:
    """Return what changes when the volume does; None if there is no such file."""
    try:
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file())
        elif path.suffix.lower() in _IN_PARTS:
            files = sorted(path.parent.glob(f"{_escaped(path.stem)}.*"))
        else:
            files = [path]
        facts, digest = [each.stat() for each in files], hashlib.blake2b(digest_size=16)
        for each, status in zip(files, facts, strict=True):
            _add_sample(digest, each, status.st_size)
    except OSError:
        return None
    newest = max((each.st_mtime_ns for each in facts), default=0)
    return [len(files), sum(each.st_size for each in facts), newest, digest.hexdigest()]


def _add_sample(digest: Any, path: Path, size: int) -> None:
    """Hash evenly spaced pieces of a file: another image differs in them, even if its size and time are the same."""
    with path.open("rb") as file:
        for number in range(_PIECES):
            file.seek(max(0, size - _PIECE) * number // (_PIECES - 1))
            digest.update(file.read(_PIECE))


def _escaped(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in stem)


@cache
def _digest_of(path: Path, *known: int) -> str:
    """Hash a file's content; known: its status, so that a changed file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).hexdigest()


def _digest(path: Path) -> Any:
    """Return a hash of a file's content; None if it cannot be read."""
    try:
        status = path.stat()
        return _digest_of(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError:
        return None
