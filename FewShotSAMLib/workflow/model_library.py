"""The user's folder of few-shot models: their names and contents, read without torch."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.segment import Segment
from FewShotSAMLib.workflow.message import INFO, WARNING, Message

SUFFIX = ".fewshot"
MODEL_SAVED = Message(
    INFO, "The model was saved with the image around the segments.", "Share it only as you would share the volume."
)
SAVED_WITH_EARLIER = Message(
    INFO,
    "The model was saved with the images around the segments, of this patient and of earlier patients.",
    "Share it only as you would share those volumes.",
)
SAVED_WITHOUT_IMAGE = Message(
    WARNING,
    "The model was saved without the image around the segments.",
    "To use it for the next patients, propagate all slices with the few-shot decoder and save it again.",
)
_METADATA_KEY = "fewshotsam"
_IMAGE = re.compile(r"atlas\d*")
_LARGEST_HEADER = 16 << 20
_NOT_A_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@dataclass(frozen=True)
class ModelEntry:
    """One few-shot model. plane: axial, coronal or sagittal; saved: seconds since 1970; images: number of volumes of
    which it holds the image around the segments, needed to register others."""

    name: str
    path: Path
    method: str
    encoder: str
    plane: str
    segments: tuple[Segment, ...]
    saved: float
    size_bytes: int
    images: int


def read_entry(path: Path) -> ModelEntry:
    """Read the header of a few-shot model. Raises BadInputError for any other file.

    A safetensors file begins with the length of its header (8 bytes, little-endian) and the header in JSON.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no file")
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(json.loads(file.read(length))["__metadata__"][_METADATA_KEY])
        return ModelEntry(
            name=path.name.removesuffix(SUFFIX),
            path=path,
            method=str(header["method"]),
            encoder=str(header["encoder"]),
            plane=str(header["plane"]),
            segments=tuple(_segment(entry) for entry in header["segments"]),
            saved=status.st_mtime,
            size_bytes=status.st_size,
            images=sum(_IMAGE.fullmatch(name) is not None for name in header),
        )
    except (OSError, struct.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"{path} is not a few-shot model ({error}).", "Choose a .fewshot file that FewShotSAM saved."
        ) from error


def _segment(entry: dict[str, Any]) -> Segment:
    red, green, blue = entry["color"]
    return Segment(**{**entry, "color": (float(red), float(green), float(blue))})


class ModelLibrary:
    """The models in one folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[Path, int, int], ModelEntry] = {}

    def entries(self) -> list[ModelEntry]:
        """All models, the newest first; other files are skipped."""
        found = {}
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                status = path.stat()
                key = (path, status.st_mtime_ns, status.st_size)
                found[key] = self._known.get(key) or read_entry(path)
            except (OSError, BadInputError):
                continue  # not ours, or damaged: loading it explicitly reports what is wrong
        self._known = found
        return sorted(found.values(), key=lambda entry: -entry.saved)

    def find(self, name: str) -> Path | None:
        """The file of the model with this name, None if the folder has none."""
        path = self.folder / f"{name}{SUFFIX}"
        return path if path.name == f"{name}{SUFFIX}" and path.is_file() else None

    def path_for(self, name: str) -> Path:
        """The path for a model of this name, existing or not. Raises BadInputError if no file can have the name."""
        plain = name.strip().removesuffix(SUFFIX).strip(" .")
        if not plain or _NOT_A_NAME.search(plain) or len(os.fsencode(plain)) > 200:
            raise BadInputError(f"A few-shot model cannot be named “{name}”.", "Use letters, digits and spaces.")
        return self.folder / f"{plain}{SUFFIX}"

    def add(self, source: Path, name: str) -> ModelEntry:
        """Copy a model's file into the folder. Raises BadInputError if it is not a model, or the name is taken."""
        entry, path = read_entry(source), self._free_path(name)
        with _reported("created", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.copy_to(entry, path)
        return read_entry(path)

    def add_file(self, source: Path) -> ModelEntry:
        """Copy a model from elsewhere under its own name, numbered if that is taken. Raises BadInputError."""
        own = source.name.removesuffix(SUFFIX)
        names = itertools.chain([own], (f"{own} {number}" for number in itertools.count(2)))
        return self.add(source, next(name for name in names if not self.path_for(name).exists()))

    def rename(self, entry: ModelEntry, name: str) -> ModelEntry:
        """Rename a model. Raises BadInputError if the name is taken or impossible."""
        path = self.path_for(name)
        if path == entry.path:
            return entry
        path = self._free_path(name)
        with _reported("renamed", entry.path):
            entry.path.rename(path)
        return read_entry(path)

    def delete(self, entry: ModelEntry) -> None:
        """Delete a model permanently; does nothing if it no longer exists. Raises BadInputError."""
        with _reported("deleted", entry.path):
            entry.path.unlink(missing_ok=True)

    def copy_to(self, entry: ModelEntry, path: Path) -> None:
        """Copy a model to a file of the user's choice. Raises BadInputError."""
        with atomic_path(path) as temporary:
            shutil.copyfile(entry.path, temporary)

    def _free_path(self, name: str) -> Path:
        path = self.path_for(name)
        if path.exists():
            raise BadInputError(f"A few-shot model “{path.stem}” already exists.", "Choose another name.")
        return path


@contextmanager
def _reported(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{path} could not be {what} ({error.strerror}).", "Check the folder and the free disk space."
        ) from error
