"""The rows of a cohort: the volume, what segments it, and the name of its result."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import check_name, compound_suffix
from FewShotSAMLib.core.volume import volume_name
from FewShotSAMLib.options import APPLY, COHORT, PATH, PATHS, PROPAGATE, Option, option, options_of

TABLES = (".csv", ".tsv", ".txt")
_NOT_A_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_LONGEST_NAME = 180
"""In bytes; leaves room for suffixes and for the names of files being written."""
_OWN_COLUMNS = ("volume", "annotation", "model", "models", "output", "name")
_EXAMPLE = "Begin it with a line such as: volume,annotation,model,output"


@dataclass(frozen=True)
class PlanDefaults:
    """What the plan itself does not say: `model`, `models` and `suffix` for rows without their own, the patterns for a
    folder, and whether DICOM series are named after their folders."""

    model: Path | None = None
    suffix: str = ".seg.nrrd"
    pattern: str = ""
    annotation_pattern: str = ""
    dicom_names: bool = False
    models: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Row:
    """One volume: propagated if there is an annotation (continuing from the model, if there is one), otherwise the
    model is applied. name: of its files. options: by their names in a request. kept: further columns of the plan.
    models: of earlier volumes, used together with the annotation."""

    name: str
    volume: Path
    annotation: Path | None = None
    model: Path | None = None
    suffix: str = ".seg.nrrd"
    options: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    models: tuple[Path, ...] = ()

    @property
    def command(self) -> str:
        """The job that segments the volume."""
        return APPLY if self.annotation is None else PROPAGATE

    @property
    def inputs(self) -> dict[str, Path]:
        """Its files, by their role."""
        return {**self._named, **{f"earlier_model_{n}": path for n, path in enumerate(self.models, start=1)}}

    @property
    def _named(self) -> dict[str, Path]:
        """The files for which the job has a parameter of its own."""
        names = {"volume": self.volume, "annotation": self.annotation}
        names["model" if self.annotation is None else "warm_start"] = self.model
        return {name: path for name, path in names.items() if path is not None}

    def output(self, folder: Path) -> Path:
        """Return its result's path in the cohort's folder."""
        return folder / f"{self.name}{self.suffix}"

    def parameters(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """Return its job's parameters except for the files that it writes: the common ones that the job knows, and the
        row's own."""
        known = {each.name for each in options_of(self.command)}
        shared = {name: value for name, value in common.items() if name in known}
        models = {"models": [str(path) for path in self.models]} if self.models else {}
        return {**shared, **self.options, **{name: str(path) for name, path in self._named.items()}, **models}


def read_table(path: Path, defaults: PlanDefaults) -> list[Row]:
    """Return the rows of a CSV or TSV file; paths in it are relative to its folder.

    Columns: volume; annotation or model; models in addition to an annotation; output, the result's name; options such
    as empty_slices; any others are kept. Raises BadInputError, naming the line, for invalid entries.
    """
    lines = _lines(path)
    header = [name.strip() for name in lines[0][1]]
    names = [name.lower().replace("-", "_") for name in header]
    if "volume" not in names:
        raise BadInputError(f"{path} has no column “volume”.", _EXAMPLE)
    if doubled := {name for name in names if name and names.count(name) > 1}:
        raise BadInputError(f"{path} has several columns “{min(doubled)}”.", "Rename all but one of them.")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise _wrong(path, number, "has more cells than the first line", "Put texts that contain commas in quotes.")
        texts = dict(zip(names, (cell.strip() for cell in cells), strict=False))
        kept = {title: texts.get(name, "") for title, name in zip(header, names, strict=True) if not _is_own(name)}
        rows.append(_row(path, number, texts, {title: text for title, text in kept.items() if title}, defaults))
    if not rows:
        raise BadInputError(f"{path} has no rows.", _EXAMPLE)
    return rows


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return (number, cells) of all lines that are not empty, the header first."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not encoded in UTF-8.", "In Excel, save it as “CSV UTF-8”.") from error
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be read ({error.strerror}).", "Check the name and its permissions."
        ) from error
    first = text.partition("\n")[0]
    separator = max("\t,;", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise BadInputError(f"{path} is not a table ({error}).", _EXAMPLE) from error
    if not lines:
        raise BadInputError(f"{path} is empty.", _EXAMPLE)
    return lines


def _row(path: Path, number: int, texts: Mapping[str, str], kept: Mapping[str, str], defaults: PlanDefaults) -> Row:
    if not texts.get("volume"):
        raise _wrong(path, number, "names no volume", "Fill in the column “volume”.")
    volume, annotation, model = (_path(path, texts.get(name, "")) for name in ("volume", "annotation", "model"))
    assert volume is not None
    model = model or (defaults.model if annotation is None else None)
    if annotation is None and model is None:
        raise _wrong(path, number, "has neither an annotation nor a model", "Fill in one of them, or use --model.")
    own = tuple(path.parent / Path(text).expanduser() for text in option("models").read(texts.get("models", "")))
    if own and annotation is None:
        hint = "Fill in the column “annotation”, or put one model into the column “model” to apply it."
        raise _wrong(path, number, "has models, but no annotation to use them with", hint)
    models = () if annotation is None else own or defaults.models
    given = texts.get("output") or texts.get("name") or ""
    suffix = next((each for each in option("format").choices if given.lower().endswith(each)), "")
    name = given[: len(given) - len(suffix)] if given else name_of(volume, path.parent, defaults.dicom_names)
    command = APPLY if annotation is None else PROPAGATE
    options = {}
    for each in _column_options(command):
        if text := texts.get(each.name, ""):
            try:
                options[each.name] = each.read(text)
            except ValueError as error:
                raise _wrong(path, number, f"has the {each.name} “{text}”", f"It must be {error}.") from error
    return Row(name, volume, annotation, model, suffix or defaults.suffix, options, kept, models)


def _wrong(path: Path, number: int, what: str, hint: str) -> BadInputError:
    return BadInputError(f"Line {number} of {path} {what}.", hint)


def _path(table: Path, text: str) -> Path | None:
    return table.parent / Path(text).expanduser() if text else None


def _column_options(command: str) -> Iterable[Option]:
    """The options that a row may set for itself."""
    return (each for each in options_of(command) if each.shown and each.kind not in (PATH, PATHS))


def _is_own(name: str) -> bool:
    return name in _OWN_COLUMNS or any(name == each.name for job in (APPLY, PROPAGATE) for each in _column_options(job))


def name_of(volume: Path, top: Path, dicom_names: bool) -> str:
    """Return the name of a row that the plan does not name: its file's. A DICOM series is named by a hash of its path
    below `top`, as its files and folders may bear a patient's name."""
    if dicom_names or not (volume.is_dir() or compound_suffix(volume) in ("", ".dcm", ".ima")):
        return volume_name(volume)
    place = volume.relative_to(top) if volume.is_relative_to(top) else volume
    return f"dicom-{hashlib.blake2b(place.as_posix().encode('utf-8', 'surrogateescape'), digest_size=5).hexdigest()}"


def check_rows(rows: Sequence[Row], folder: Path, common: Iterable[str]) -> None:
    """Raise BadInputError, before any work, if results would have invalid names or replace each other or a file that a
    row reads, or if no row knows a given option. common: names of the options given for all rows."""
    named: dict[str, Row] = {}
    inputs = {path.absolute() for row in rows for path in row.inputs.values()}
    for row in rows:
        plain = row.name.strip(" .")
        if not plain or plain != row.name or _NOT_A_NAME.search(row.name) or len(row.name.encode()) > _LONGEST_NAME:
            raise BadInputError(
                f"A result cannot be called “{row.name}”.",
                "Use letters, digits and spaces, in a cohort's plan in its column “output”.",
            )
        check_name(row.output(folder))
        other = named.setdefault(row.name.casefold(), row)
        if other is not row:
            raise BadInputError(
                f"The results of {other.volume} and {row.volume} would both be called {row.name}{row.suffix}.",
                "Rename one of them, or name the results in a column “output” of a cohort's plan.",
            )
        if row.output(folder).absolute() in inputs:
            message = f"The result {row.output(folder)} would replace a file of the plan."
            raise BadInputError(message, "Choose another folder.")
    commands = {row.command for row in rows}
    for name in common:
        wants = set(option(name).commands) - {COHORT}
        if wants and not wants & commands:
            jobs = " or ".join(sorted(wants))
            raise BadInputError(f"{option(name).flag} is for {jobs}, but the plan has no such row.", "Omit it.")
