"""The table of a cohort: names and numbers of all rows, those to review first at the top."""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.contributions import unused_model_lines, used_model_lines
from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.files import atomic_path, cannot_write

DONE, FAILED, MISSING = "done", "failed", "missing"
REASONS = ("failed", "nothing found", "unlike the model's volume", "unusual volume", "warnings")
"""Why to review a row, most serious first."""
FAILURE, NOTHING, UNLIKE, UNUSUAL, WARNED = REASONS
_FEWEST = 8
"""How many rows it takes, at least, for a segment's volume to be unusual or a warning to be common."""
_ODD = 3.5
"""Threshold of Iglewicz and Hoaglin's modified z-score (1993), here of the logarithm of the volume."""
_LEAST_SPREAD = 0.05
"""Least spread of a volume assumed, as a share of it, so that small deviations are not unusual."""
_COLUMNS = ("name", "state", "look_at", "confidence", "least_confidence", "least_sure_slice", "likeness")
_AFTER = ("warnings", "earlier_models", "seconds", "error", "message", "hint")
_PATH_LIKE = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s“”\"':;,()]+){2,}[\\/]?")


@dataclass(frozen=True)
class TableEntry:
    """A row of the table. Confidence 0 to 1: of all predicted slices, and of the least sure one; likeness -1 to 1:
    correlation with the volume that the model was learned on; volumes_ml: by segment; error: kind, message, hint;
    shown: slices of its picture; models: what earlier volumes' models contributed, by their numbers in the row."""

    name: str
    state: str
    confidence: float | None = None
    least_confidence: float | None = None
    least_sure_slice: int | None = None
    likeness: float | None = None
    is_unlike: bool = False
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    seconds: float | None = None
    error: tuple[str, str, str] | None = None
    shown: Sequence[int] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    look_at: Sequence[str] = ()
    models: Sequence[str] = ()

    @property
    def urgency(self) -> tuple[int, float, str]:
        """A sort key: smaller means review earlier; missing rows come last."""
        first = REASONS.index(self.look_at[0].partition(":")[0]) if self.look_at else len(REASONS)
        unsure = self.confidence if self.confidence is not None else 1.0
        return (first + 2 * len(REASONS) * (self.state == MISSING), unsure, self.name)


def entry_of(
    name: str,
    report: Mapping[str, Any] | None,
    error: FewShotSAMError | None = None,
    paths: Mapping[str, Path] | None = None,
    kept: Mapping[str, str] | None = None,
) -> TableEntry:
    """Return a row's entry from its job's report or from the error with which it failed; neither for a row that is
    still missing. paths: files by their role, whose names are removed from all texts."""
    own = dict(kept or {})
    if report is None:
        failure = error and (
            error.kind,
            without_paths(error.message, paths or {}),
            without_paths(str(error.hint), paths or {}),
        )
        return TableEntry(name, FAILED if failure else MISSING, error=failure or None, kept=own)
    sure = [(each["confidence"], each["index"]) for each in report["slices"] if each["origin"] == "predicted"]
    least = min(sure, default=(None, None))
    training = report["training"]
    registration, numbered = training.get("registration", {}), _numbered(training)
    unused = dict(zip(unused_model_lines(training), unused_model_lines(numbered), strict=True))
    return TableEntry(
        name,
        DONE,
        report["mean_confidence"],
        least[0],
        least[1],
        registration.get("likeness"),
        registration.get("used") is False,
        {each["name"]: each["volume_ml"] for each in report["segments"]},
        [without_paths(unused.get(text, text), paths or {}) for text in report["warnings"]],
        report["seconds"]["total"],
        None,
        report.get("shown", ()),
        own,
        models=used_model_lines(numbered),
    )


def _numbered(training: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replace the names of earlier volumes' models in a report by numbers, as they are file names."""
    models = [{**each, "name": str(number)} for number, each in enumerate(training.get("models", ()), start=1)]
    return {**training, "models": models}


def without_paths(text: str, paths: Mapping[str, Path]) -> str:
    """Remove file names from a text, as they may be patients' names."""
    for what, path in paths.items():
        for given in (str(path.absolute()), str(path), path.name):
            if len(given) > 2:
                text = text.replace(given, f"the {what.replace('_', ' ')}")
    return _PATH_LIKE.sub("a file", text)


def ranked(entries: Iterable[TableEntry]) -> list[TableEntry]:
    """Return the entries with the reasons to review them, in the order of review."""
    given = list(entries)
    usual, common = _usual_volumes(given), _common_warnings(given)
    looked = [replace(entry, look_at=tuple(_reasons(entry, usual, common))) for entry in given]
    return sorted(looked, key=lambda entry: entry.urgency)


def _reasons(entry: TableEntry, usual: Mapping[str, tuple[float, float]], common: set[str]) -> Iterable[str]:
    if entry.state == FAILED:
        yield FAILURE
    if empty := [name for name, volume in entry.volumes_ml.items() if not volume]:
        yield f"{NOTHING}: {', '.join(empty)}"
    if entry.is_unlike:
        yield UNLIKE
    odd = [name for name, volume in entry.volumes_ml.items() if volume and _is_odd(volume, usual.get(name))]
    if odd:
        yield f"{UNUSUAL}: {', '.join(odd)}"
    if not common.issuperset(entry.warnings):
        yield WARNED


def _common_warnings(entries: Sequence[TableEntry]) -> set[str]:
    """Warnings of more than half of the rows, which single out none of them."""
    counts = Counter(text for entry in entries for text in set(entry.warnings))
    return {text for text, count in counts.items() if count >= _FEWEST and 2 * count > len(entries)}


def _usual_volumes(entries: Sequence[TableEntry]) -> dict[str, tuple[float, float]]:
    """Return the median of the logarithm of each segment's volume, and the median distance from it."""
    found: dict[str, list[float]] = {}
    for entry in entries:
        for name, volume in entry.volumes_ml.items():
            if volume:
                found.setdefault(name, []).append(math.log(volume))
    usual = {}
    for name, values in found.items():
        if len(values) >= _FEWEST:
            middle = statistics.median(values)
            usual[name] = (middle, max(statistics.median(abs(value - middle) for value in values), _LEAST_SPREAD))
    return usual


def _is_odd(volume: float, usual: tuple[float, float] | None) -> bool:
    return usual is not None and 0.6745 * abs(math.log(volume) - usual[0]) / usual[1] > _ODD


def segments_of(entries: Iterable[TableEntry]) -> list[str]:
    """Return the names of all segments, each once."""
    return list(dict.fromkeys(name for entry in entries for name in entry.volumes_ml))


def write_table(entries: Sequence[TableEntry], path: Path) -> None:
    """Write the entries as CSV, completely or not at all. Raises BadInputError."""
    segments = segments_of(entries)
    kept = list(dict.fromkeys(name for entry in entries for name in entry.kept))
    own = [*_COLUMNS, *(f"{name} (ml)" for name in segments), *_AFTER]
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([*own, *(f"{name} (plan)" if name in own else name for name in kept)])
    for entry in entries:
        numbers = [entry.confidence, entry.least_confidence, entry.least_sure_slice, entry.likeness]
        volumes = [entry.volumes_ml.get(name) for name in segments]
        rest = [" | ".join(entry.warnings), " | ".join(entry.models), entry.seconds, *(entry.error or ("", "", ""))]
        further = [entry.kept.get(name, "") for name in kept]
        table.writerow([entry.name, entry.state, "; ".join(entry.look_at), *numbers, *volumes, *rest, *further])
    try:
        with atomic_path(path) as partial:
            # Without the byte order mark, Excel assumes its own code page.
            partial.write_text(stream.getvalue(), encoding="utf-8-sig")
    except OSError as error:
        raise cannot_write(path, error) from error
