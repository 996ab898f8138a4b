"""The served folder: the only place that the browser may name files in."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from FewShotSAMLib.core.dicom import is_dicom
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import compound_suffix
from FewShotSAMLib.core.identity import FileIdentity

VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
SEGMENTATION_SUFFIX = ".seg.nrrd"
MOST_LISTED = 500
DEEPEST = 4
_HINT = "Choose a place inside the served folder."


class ServedFolder:
    """A folder and its contents, named by relative paths. Nothing outside can be named, not even through a link."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BadInputError(f"The folder {folder} does not exist.", "Check the spelling.")
        self.path = folder.resolve()

    def resolve(self, name: str) -> Path:
        """The path that `name` stands for; it need not exist. Raises BadInputError if it lies outside."""
        for text in (name, unquote(name), unquote(unquote(name))):
            if not text.strip() or "\0" in text or _leads_away(text):
                raise BadInputError(f"“{name}” is not a place in the served folder.", _HINT)
        path = (self.path / name).resolve()
        if not path.is_relative_to(self.path):
            raise BadInputError(f"“{name}” leads out of the served folder.", _HINT)
        return path

    def name_of(self, path: Path) -> str:
        """The name of a path inside the folder; raises BadInputError for any other."""
        if not self.holds(path):
            raise BadInputError(f"{path.name} lies outside the served folder.", _HINT)
        return path.resolve().relative_to(self.path).as_posix()

    def holds(self, path: Path) -> bool:
        """Whether a path lies inside, links followed."""
        return path.resolve().is_relative_to(self.path)

    def output(self, name: str) -> Path:
        """The path to save a segmentation of this name at, with its suffix. Raises BadInputError."""
        self.resolve(name)
        if not name.lower().endswith(SEGMENTATION_SUFFIX):
            name = f"{name}{SEGMENTATION_SUFFIX}"
        path = self.resolve(name)
        if not path.parent.is_dir():
            raise BadInputError(f"There is no folder “{PurePosixPath(name).parent}” in the served folder.", _HINT)
        return path

    def free_name(self, stem: str) -> str:
        """A name for a segmentation that no file in the folder has."""
        stems = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        names = (f"{each}{SEGMENTATION_SUFFIX}" for each in stems)
        return next(name for name in names if not os.path.lexists(self.path / name))

    def volumes(self) -> list[str]:
        """Names of the volumes: files of 3D Slicer's formats, and folders that hold DICOM files."""
        return sorted(itertools.islice(self._walk(), MOST_LISTED), key=str.casefold)

    def _walk(self) -> Iterator[str]:
        for folder, below, files in os.walk(self.path, followlinks=False):
            here = Path(folder)
            below[:] = sorted(each for each in below if not each.startswith("."))
            if len(here.relative_to(self.path).parts) >= DEEPEST:
                below.clear()
            visible = sorted(each for each in files if not each.startswith("."))
            for each in visible:
                if compound_suffix(Path(each)) in VOLUME_SUFFIXES and self.holds(here / each):
                    yield (here / each).relative_to(self.path).as_posix()
            if here != self.path and any(is_dicom(here / each) for each in visible[:3]):
                yield here.relative_to(self.path).as_posix()


class WrittenFiles:
    """The files that this session wrote and nobody has changed since: replacing them loses nobody's work."""

    def __init__(self, folder: ServedFolder) -> None:
        self._folder = folder
        self._known: dict[Path, FileIdentity] = {}

    def note(self, path: Path) -> None:
        """Note that this session has just written a file."""
        self._known[path.resolve()] = FileIdentity([path])

    def may_replace(self, path: Path) -> bool:
        """Whether there is no such file yet, or only one that this session wrote."""
        known = self._known.get(path.resolve())
        return not os.path.lexists(path) or (known is not None and known.is_same())


def _leads_away(text: str) -> bool:
    windows, posix = PureWindowsPath(text), PurePosixPath(text)
    return bool(windows.drive or windows.root) or posix.is_absolute() or ".." in windows.parts
