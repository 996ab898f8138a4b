"""Turns array slices the way radiologists hang them, so that every volume shows its anatomy the same way up."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from FewShotSAMLib.core.geometry import Geometry

PLANE_NAMES = ("sagittal", "coronal", "axial")
"""Plane whose normal is the left (0), posterior (1) or superior (2) axis of LPS space."""

# Conventional display per plane: (anatomical axis down the rows, sign), (axis along the columns, sign) in LPS.
_DISPLAY = {"axial": ((1, 1), (0, 1)), "coronal": ((2, -1), (0, 1)), "sagittal": ((2, -1), (1, 1))}


@dataclass(frozen=True)
class SlicePlane:
    """Slices along array `axis` and how to turn them into the conventional display orientation and back.

    `shape` (rows, columns) and `spacing` (mm down the rows, mm along the columns) are those of the turned slice.
    """

    axis: int
    name: str
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    shape: tuple[int, int]
    spacing: tuple[float, float]

    def orient(self, array: np.ndarray) -> np.ndarray:
        """Turn a slice (rows, columns, ...) as stored into display orientation; a view."""
        return self._flipped(array.swapaxes(0, 1) if self.transpose else array)

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Undo `orient`; a view."""
        return self._flipped(array).swapaxes(0, 1) if self.transpose else self._flipped(array)

    def _flipped(self, array: np.ndarray) -> np.ndarray:
        return array[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def anatomical_axes(geometry: Geometry) -> list[tuple[int, int]]:
    """For each array axis (k, j, i) the nearest LPS axis and the sign with which it runs, each LPS axis used once."""
    direction = np.asarray(geometry.direction, dtype=float).reshape(3, 3)[:, ::-1]  # columns: k, j, i
    best = max(permutations(range(3)), key=lambda order: sum(abs(direction[order[a], a]) for a in range(3)))
    return [(best[a], 1 if direction[best[a], a] >= 0 else -1) for a in range(3)]


def slice_plane(geometry: Geometry, axis: int) -> SlicePlane:
    """The plane of the slices along array `axis` (0 = k, 1 = j, 2 = i)."""
    anatomy = anatomical_axes(geometry)
    name = PLANE_NAMES[anatomy[axis][0]]
    row_axis, column_axis = (other for other in range(3) if other != axis)
    (down, down_sign), (_, along_sign) = _DISPLAY[name]
    transpose = anatomy[row_axis][0] != down
    if transpose:
        row_axis, column_axis = column_axis, row_axis
    return SlicePlane(
        axis=axis,
        name=name,
        transpose=transpose,
        flip_rows=anatomy[row_axis][1] != down_sign,
        flip_columns=anatomy[column_axis][1] != along_sign,
        shape=(geometry.shape[row_axis], geometry.shape[column_axis]),
        spacing=(geometry.spacing_kji[row_axis], geometry.spacing_kji[column_axis]),
    )


def axis_of_plane(geometry: Geometry, name: str) -> int:
    """The array axis along which the slices of this volume lie in the named plane."""
    return [PLANE_NAMES[anatomical] for anatomical, _ in anatomical_axes(geometry)].index(name)
