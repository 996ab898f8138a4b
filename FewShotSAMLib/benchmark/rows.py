"""The file of finished rows: one JSON object per line, written at once, so that a stopped benchmark can be resumed.

Later lines replace earlier ones with the same key. A line that was cut off when the computer went down is skipped.
"""

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.lock import exclusive_lock
from FewShotSAMLib.worker.protocol import encode

Row = dict[str, Any]


class RowFile:
    """`rows.jsonl` in a benchmark's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rows.jsonl"

    def locked(self) -> AbstractContextManager[None]:
        """Keep other benchmarks out of the folder. Raises BadInputError if one is using it already."""
        folder = self.path.parent
        message = f"Another benchmark is writing to {folder}."
        return exclusive_lock(folder / ".lock", message, "Wait for it or choose another folder.")

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns."""
        line = encode(row)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(handle).st_size
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                line = line if os.read(handle, 1) == b"\n" else b"\n" + line
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(handle)
        except OSError as error:
            raise BadInputError(
                f"{self.path} cannot be written ({error.strerror}).", "Free some disk space, then run it again."
            ) from error
        finally:
            os.close(handle)

    def read(self) -> list[Row]:
        """Return the rows, each key once, in the order in which they were last written."""
        if not self.path.is_file():
            return []
        rows: dict[str, Row] = {}
        for line in self.path.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and {"key", "method", "k", "task", "status"} <= row.keys():
                rows.pop(row["key"], None)
                rows[row["key"]] = row
        return list(rows.values())


def is_done(row: Row) -> bool:
    """Return whether the row holds scores; a failed one is tried again."""
    return bool(row["status"] == "done")
