"""Grids of every kind and small volumes for the tests of core."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.volume import read_volume


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation matrix of angles in degrees."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians([x, y, z])):
        first, second = (other for other in range(3) if other != axis)
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ step
    return matrix


def itk_image(array: np.ndarray, geometry: Geometry | None = None, **options: bool) -> SimpleITK.Image:
    """Return an array (K, J, I) on a grid, made by SimpleITK alone."""
    image = SimpleITK.GetImageFromArray(array, **options)
    if geometry is not None:
        image.SetSpacing(geometry.spacing)
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
    return image


def check_refused(path: Path, word: str) -> str:
    """Check that the volume is refused as bad input in one line with this word; return that line."""
    with pytest.raises(BadInputError, match=word) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


DIRECTIONS = {
    "axial": np.eye(3),
    "coronal": np.eye(3)[:, [0, 2, 1]],
    "sagittal": np.eye(3)[:, [1, 2, 0]],
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "oblique": rotation(20, -35, 50),
    "oblique left-handed": rotation(10, 5, -70) @ np.diag([1.0, -1.0, 1.0]),
}


@pytest.fixture(params=DIRECTIONS)
def geometry(request: pytest.FixtureRequest) -> Geometry:
    """An anisotropic grid of 9 × 7 × 5 voxels, one for each possible orientation in space."""
    direction = tuple(DIRECTIONS[request.param].ravel().tolist())
    return Geometry((9, 7, 5), (0.7, 1.1, 4.0), (-12.5, 30.25, -801.125), direction)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write an array (K, J, I) as an image file with SimpleITK alone."""

    def write(array: np.ndarray, name: str = "image.nrrd", geometry: Geometry | None = None, **options: bool) -> Path:
        SimpleITK.WriteImage(itk_image(array, geometry, **options), tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def ramp() -> np.ndarray:
    """5 × 7 × 9 int16 voxels, all different."""
    return np.arange(315, dtype=np.int16).reshape(5, 7, 9) - 100
