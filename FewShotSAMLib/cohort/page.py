"""The table of a cohort as a self-contained HTML page with pictures; it loads nothing else and contacts no server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from FewShotSAMLib import __version__
from FewShotSAMLib.cohort.table import REASONS, TableEntry, segments_of
from FewShotSAMLib.core.files import atomic_path, cannot_write
from FewShotSAMLib.core.resources import resource_path

_SCRIPT, _END = "<script>", "</script>"


def write_page(entries: Sequence[TableEntry], path: Path, picture: Callable[[TableEntry], Path | None]) -> None:
    """Write a page of the entries in their order; `picture` returns an entry's JPEG, None if there is none.

    Raises BadInputError.
    """
    template = resource_path("cohort.html").read_text(encoding="utf-8")
    script = template.partition(_SCRIPT)[2].partition(_END)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head, _, tail = template.replace("SCRIPT_HASH", digest).partition("COHORT_DATA")
    facts = {"version": __version__, "segments": segments_of(entries), "reasons": REASONS}
    try:
        with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(f'{head}{{"facts":{_json(facts)},"rows":[')
            for number, entry in enumerate(entries):  # one by one, so as not to hold thousands of pictures in memory
                file.write(f"{',' if number else ''}\n{_json(_row(entry, picture(entry)))}")
            file.write(f"]}}{tail}")
    except OSError as error:
        raise cannot_write(path, error) from error


def _row(entry: TableEntry, picture: Path | None) -> dict[str, Any]:
    fields = {name: value for name, value in vars(entry).items() if name != "is_unlike"}
    row = {name: value for name, value in fields.items() if value not in (None, (), {}, [])}
    if picture is not None and picture.is_file():
        row["picture"] = base64.b64encode(picture.read_bytes()).decode()
    return row


def _json(value: Any) -> str:
    """Encode JSON so that nothing in it can end the page's script element."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
