"""The job that reads a volume for another process, so that a file that crashes its reader does no harm there.

It needs no torch, so it runs before torch is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.identity import files_of_volume
from FewShotSAMLib.core.volume import read_volume as read

_HINT = "Copy what belongs to it into the served folder."


def read_volume(parameters: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Read the volume at `path` and write its voxels as `output` (.npy); returns name, geometry, modality, warnings.

    context: a JobContext. inside: the folder in which all of the volume's files must lie, links followed.
    """
    path, output, inside = (parameters.get(name) for name in ("path", "output", "inside"))
    if not isinstance(path, str) or not isinstance(output, str) or not isinstance(inside, str | None):
        raise BadInputError("Missing parameters: path, output.", "Name the file to read, and where its voxels go.")
    context.progress("read", 0, 1)
    context.reading(Path(path))
    if inside is not None:
        check_inside(Path(path), Path(inside))
    volume = read(Path(path), partial(context.progress, "read"))
    context.check()
    with atomic_path(Path(output)) as temporary, temporary.open("wb") as stream:
        np.save(stream, volume.voxels, allow_pickle=False)
    context.reading(None)
    context.progress("read", 1, 1)
    return {
        "name": volume.name,
        "geometry": volume.geometry.to_json(),
        "modality": volume.modality,
        "warnings": list(volume.warnings),
    }


def check_inside(path: Path, folder: Path) -> None:
    """Raise BadInputError if a volume's header names a file outside the folder, or a link leads out of it."""
    folder = folder.resolve()
    for each in _files(path):
        if not each.resolve().is_relative_to(folder):
            raise BadInputError(f"{path.name} leads to {each.name}, outside the served folder.", _HINT)


def _files(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        yield from path.rglob("*")
        return
    known = files_of_volume(path)
    if known is not None:
        yield from known
    else:  # with a DICOM file, its whole series is read
        yield from (each for each in path.parent.iterdir() if each.is_symlink())
