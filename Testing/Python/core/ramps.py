"""A small volume, which the files of some tests of situations contain, and a check that it was read correctly."""

from pathlib import Path

import numpy as np

from FewShotSAMLib.core.volume import read_volume

RAMP = np.arange(315).reshape(5, 7, 9)
LPS = np.array([[1.5, 0, 0, -20], [0, 0.5, 0, 30], [0, 0, 4, -40]])
"""From (i, j, k, 1) to mm, as all files here say it in their own way."""
RAW = RAMP.astype("<i2").tobytes()


def check(path: Path, values: np.ndarray = RAMP, matrix: np.ndarray = LPS, told: str = "") -> None:
    """Check the voxels and their positions, and that there is a warning with the word, or none."""
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.geometry.index_to_physical()[:3], matrix, atol=1e-6)
    assert told in "".join(volume.warnings) and bool(told) == bool(volume.warnings), volume.warnings


def as_text(voxels: np.ndarray) -> bytes:
    return " ".join(map(str, voxels.ravel())).encode() + b"\n"


def in_parts(folder: Path, name: str) -> list[str]:
    """Write the slices to separate files."""
    for number, plane in enumerate(RAMP.astype("<i2")):
        (folder / (name % number)).write_bytes(plane.tobytes())
    return [name % number for number in range(len(RAMP))]
