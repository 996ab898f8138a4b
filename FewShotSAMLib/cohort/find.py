"""Finds the rows of a cohort in a folder: files and DICOM series by a pattern, or a BIDS data set."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath

from FewShotSAMLib.cohort.plan import TABLES, PlanDefaults, Row, name_of, read_table
from FewShotSAMLib.core.dicom import is_dicom
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import compound_suffix
from FewShotSAMLib.core.volume import volume_name

VOLUMES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".mgz", ".mgh", ".img", ".img.gz")
BIDS_MARK = "dataset_description.json"
_BIDS_VOLUMES = ("sub-*/anat/*", "sub-*/ses-*/anat/*")
_BIDS_SUFFIXES = (".nii", ".nii.gz")
_LOOKED_AT = 5
"""How many of a folder's files are opened to find out whether it holds DICOM."""


def read_plan(path: Path, defaults: PlanDefaults, results: Path) -> list[Row]:
    """Return the rows of a plan: a table, a folder or a BIDS data set (https://bids.neuroimaging.io). Files below
    `results`, the folder of the results, are ignored. Raises BadInputError."""
    if path.is_dir():
        return _rows_in(path, defaults, results)
    if defaults.pattern or defaults.annotation_pattern:
        raise BadInputError(f"{path} is a table, and patterns are for folders.", "Omit the pattern.")
    if not path.is_file():
        raise BadInputError(f"The plan {path} does not exist.", "Give a table (.csv, .tsv) or a folder.")
    if path.suffix.lower() not in TABLES:
        raise BadInputError(f"{path} is neither a table (.csv, .tsv) nor a folder.", "List the volumes in a table.")
    return read_table(path, defaults)


def _rows_in(folder: Path, defaults: PlanDefaults, results: Path) -> list[Row]:
    is_bids = (folder / BIDS_MARK).is_file()
    volumes = [
        path
        for path in _matches(folder, defaults.pattern, is_bids)
        if not path.absolute().is_relative_to(results.absolute())
    ]
    annotations = {volume: _annotation(volume, folder, defaults.annotation_pattern) for volume in volumes}
    painted = {path for path in annotations.values() if path is not None}
    volumes = [volume for volume in volumes if volume not in painted]
    if is_bids and not defaults.pattern:
        _check_one_kind(folder, volumes)
    if not volumes:
        raise BadInputError(
            f"No volume in {folder} matches “{defaults.pattern or '*'}”.",
            "Give another --pattern, such as '*/*.nii.gz'.",
        )
    called = name_of if is_bids else place_name
    rows = []
    for volume in volumes:
        annotation = annotations[volume]
        if annotation is not None and defaults.model is not None and not annotation.exists():
            annotation = None
        if annotation is None and defaults.model is None:
            raise BadInputError(
                f"{folder} is a folder of volumes, which does not say what to segment them with.",
                "Use --model M.fewshot, or --annotation-pattern if each volume has painted slices.",
            )
        with_ = {"model": defaults.model} if annotation is None else {"models": defaults.models}
        name = called(volume, folder, defaults.dicom_names)
        rows.append(Row(name, volume, annotation, suffix=defaults.suffix, **with_))
    return rows


def _matches(folder: Path, pattern: str, is_bids: bool) -> Iterator[Path]:
    """Yield files with the suffix of a volume, and folders that contain DICOM files, in the order of their names."""
    patterns = _BIDS_VOLUMES if is_bids and not pattern else (pattern or "*",)
    try:
        found = sorted({path for each in patterns for path in _found(folder, each)})
    except (ValueError, NotImplementedError) as error:
        raise BadInputError(
            f"The pattern “{pattern}” cannot be used ({error}).", "Give one such as '*/*.nii.gz'."
        ) from error
    suffixes = _BIDS_SUFFIXES if is_bids else VOLUMES
    for path in found:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        is_file = path.is_file() and compound_suffix(path) in suffixes
        if is_file or (path.is_dir() and not is_bids and _holds_dicom(path)):
            yield path


def _found(folder: Path, pattern: str) -> set[Path]:
    """Everything that the pattern matches. Raises ValueError or NotImplementedError for a pattern that cannot be used,
    and BadInputError for a folder on the way or at its end that cannot be read: `Path.glob` skips it silently."""
    parts = PurePath(pattern).parts
    if not parts:
        raise ValueError("it matches nothing below the folder")
    found = {folder}
    for length in range(len(parts) + 1):
        found = set(folder.glob(str(PurePath(*parts[:length])))) if length else found
        for each in found:
            if not os.access(each, os.R_OK | os.X_OK) and each.is_dir():
                raise BadInputError(
                    f"The permissions of the folder {each} do not allow reading it; it could hold volumes.",
                    "Change them, or give a --pattern that does not match it.",
                )
    return found


def _holds_dicom(folder: Path) -> bool:
    files = (path for path in sorted(folder.iterdir()) if path.is_file())
    return any(is_dicom(path) for path, _ in zip(files, range(_LOOKED_AT), strict=False))


def _annotation(volume: Path, folder: Path, pattern: str) -> Path | None:
    if not pattern:
        return None
    place = volume.parent.relative_to(folder).as_posix()
    try:
        return folder / pattern.format(folder=place, name=volume_name(volume))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise BadInputError(
            f"The pattern “{pattern}” cannot be used: it can contain {{folder}} and {{name}}, nothing else in braces.",
            "Give one such as '{folder}/{name}-painted.seg.nrrd'.",
        ) from error


def place_name(volume: Path, folder: Path, dicom_names: bool) -> str:
    """Return the volume's path as one name, so that patients/1/ct.nii and patients/2/ct.nii differ."""
    own = name_of(volume, folder, dicom_names)
    if own.startswith("dicom-") and not dicom_names and own != volume_name(volume):
        return own
    return "_".join([*volume.relative_to(folder).parent.parts, own])


def _check_one_kind(folder: Path, volumes: list[Path]) -> None:
    """Raise BadInputError if there are several kinds of images, as a model is for one kind: the user has to choose."""
    kinds = Counter(volume_name(volume).rpartition("_")[2] for volume in volumes)
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(6))
        raise BadInputError(
            f"{folder} holds several kinds of images: {listed}.",
            f"Choose one, for example --pattern 'sub-*/**/*_{kinds.most_common(1)[0][0]}.nii.gz'.",
        )
