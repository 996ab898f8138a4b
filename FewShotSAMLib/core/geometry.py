"""Where the voxels of a volume lie in the patient: size, spacing, origin and direction, and how two grids relate."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from FewShotSAMLib.core.errors import BadInputError

# Voxels. Headers in float32 (NIfTI) displace the far corner of a large volume by less than this.
SAME_TOLERANCE = 1e-3
LATTICE_TOLERANCE = 1e-2
SLIGHT = 0.25
"""Voxels. Grids that differ by less than this everywhere count as the same, with a warning: the grids of public labels
are rounded by up to a tenth of a voxel, and half a voxel would already be another voxel."""
_NUMBERS = ("size", "spacing", "origin", "direction")


@dataclass(frozen=True)
class LatticeMap:
    """Maps the indices (i, j, k) of one grid to another's: `ours[a] = signs[a] * theirs[axes[a]] + offset[a]`.

    apart: the largest difference that remains between the two, in voxels.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]
    offset: tuple[int, int, int]
    apart: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether each voxel keeps its index."""
        return (self.axes, self.signs, self.offset) == ((0, 1, 2), (1, 1, 1), (0, 0, 0))

    def turn(self, array: np.ndarray) -> np.ndarray:
        """View of an array (K, J, I) of the other grid with its axes in our order and directions."""
        turned = array.transpose([2 - self.axes[2 - axis] for axis in range(3)])
        return turned[tuple(slice(None, None, self.signs[2 - axis]) for axis in range(3))]

    def first_index(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Index (k, j, i) in our grid of the first voxel of a turned array; `size` is the other grid's (i, j, k)."""
        spans = (size[axis] - 1 for axis in self.axes)
        low = [o if s > 0 else o - span for o, s, span in zip(self.offset, self.signs, spans, strict=True)]
        return low[2], low[1], low[0]


@dataclass(frozen=True)
class NiftiForms:
    """The two ways in which a NIfTI file says where its voxels lie: 4 × 4 matrices from (i, j, k, 1) to RAS mm."""

    sform: tuple[tuple[float, ...], ...]
    sform_code: int
    qform: tuple[tuple[float, ...], ...]
    qform_code: int


@dataclass(frozen=True)
class Geometry:
    """A regular grid of voxels.

    size: voxels along (i, j, k); spacing: mm along (i, j, k); origin: centre of voxel (0, 0, 0) in mm, LPS;
    direction: 9 numbers, row by row; column a is the unit vector of index axis a in LPS (as in SimpleITK).
    forms: as in the NIfTI file that the grid came from, None for other files; ignored in comparisons.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    forms: NiftiForms | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raise BadInputError if the numbers do not span a grid."""
        matrix = np.asarray(self.direction, dtype=np.float64)
        numbers_fit = len(self.size) == len(self.spacing) == len(self.origin) == 3 and matrix.size == 9
        if not (numbers_fit and min(self.size) > 0 and np.isfinite([*self.spacing, *self.origin, *matrix]).all()):
            raise BadInputError("The geometry of the volume is not complete.", "Export the volume again.")
        if min(self.spacing) <= 0 or abs(np.linalg.det(matrix.reshape(3, 3))) < 1e-3:
            raise BadInputError(
                "The geometry of the volume is flat: spacing or directions are 0.", "Correct its header."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the voxel array: (k, j, i)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        """Spacing in mm in the order of the voxel array: (k, j, i)."""
        return self.spacing[2], self.spacing[1], self.spacing[0]

    def slice_shape(self, axis: int) -> tuple[int, int]:
        """(rows, columns) of a slice along array axis 0 = k, 1 = j, 2 = i."""
        rows, columns = (length for other, length in enumerate(self.shape) if other != axis)
        return rows, columns

    def index_to_physical(self) -> np.ndarray:
        """4 × 4 float64 matrix from (i, j, k, 1) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    def is_same_as(self, other: "Geometry") -> bool:
        """Whether both grids put every voxel at the same place, to a thousandth of a voxel."""
        return self.displacement(other) <= SAME_TOLERANCE

    def displacement(self, other: "Geometry") -> float:
        """The largest distance between the grids' voxels, in voxels; infinite if their sizes differ."""
        if self.size != other.size:
            return float("inf")
        return _farthest(self._relative_to(other), np.eye(3), np.zeros(3), self.size)

    def slant(self) -> float:
        """How many voxels the far corner moves when the axes are made perpendicular; 0 if they already are."""
        return self.displacement(replace(self, direction=_nearest_rotation(self.direction)))

    def as_written_in(self) -> "list[Geometry]":
        """The grids that the NIfTI file's sform and qform state, if it has them."""
        forms = self.forms
        if forms is None:
            return []
        both = ((forms.sform, forms.sform_code), (forms.qform, forms.qform_code))
        found = []
        for matrix, code in both:
            with suppress(BadInputError):  # the form that is not used may be invalid
                found += [Geometry.of_ras(matrix, self.size)] if code > 0 else []
        return found

    @classmethod
    def of_ras(cls, matrix: ArrayLike, size: tuple[int, int, int], forms: NiftiForms | None = None) -> Self:
        """The grid of a 4 × 4 matrix from (i, j, k, 1) to RAS mm; raises BadInputError if it spans none."""
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(matrix, dtype=np.float64)
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        with np.errstate(invalid="ignore"):
            direction = tuple((lps[:3, :3] / spacing).ravel().tolist())
        return cls(size, _floats(spacing), _floats(lps[:3, 3]), direction, forms)

    def lattice_map(self, other: "Geometry", tolerance: float = LATTICE_TOLERANCE) -> LatticeMap | None:
        """How `other` maps to this grid if its voxels coincide with voxels of this grid or its continuation; else None.

        The direction and spacing of an axis along which `other` is one voxel thick do not matter.
        tolerance: how far its voxels may be off ours, in voxels.
        """
        relative = other._relative_to(self)
        nearest = _signed_permutation(relative[:3, :3], np.asarray(other.size) == 1)
        if nearest is None:
            return None
        offset = np.rint(relative[:3, 3])
        apart = _farthest(relative, nearest, offset, other.size)
        if apart >= tolerance:
            return None
        axes = np.abs(nearest).argmax(axis=1)
        signs = nearest[np.arange(3), axes]
        return LatticeMap(_integers(axes), _integers(signs), _integers(offset), apart)

    def describe(self) -> str:
        """Size, spacing, origin and direction in one line."""
        spacing, origin = (", ".join(f"{value:.6g}" for value in values) for values in (self.spacing, self.origin))
        size = " x ".join(str(count) for count in self.size)
        direction = " ".join(f"{value + 0.0:.4g}" for value in self.direction)
        return f"{size} voxels, spacing ({spacing}) mm, origin ({origin}) mm LPS, direction ({direction})"

    def to_json(self) -> dict[str, Any]:
        """The numbers as lists, for a JSON file."""
        return {name: list(getattr(self, name)) for name in _NUMBERS}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`; raises BadInputError if something is missing."""
        try:
            size, spacing, origin, direction = (values[name] for name in _NUMBERS)
            i, j, k = (int(value) for value in size)
            return cls((i, j, k), _floats(spacing), _floats(origin), tuple(float(value) for value in direction))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"A stored geometry cannot be read ({error}).", "Make the file again.") from error

    def _relative_to(self, other: "Geometry") -> np.ndarray:
        """4 × 4 matrix from our indices to those of `other`."""
        return np.linalg.solve(other.index_to_physical(), self.index_to_physical())


def slices_of(mask: np.ndarray, axis: int) -> np.ndarray:
    """Indices of the slices along an axis that hold any voxel of a mask (K, J, I)."""
    return np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))


def labelled_rows(labels: np.ndarray) -> slice:
    """The rows of a slice (rows, columns) from the first to the last that contains a label."""
    held = np.flatnonzero(labels.any(axis=1))
    return slice(held[0], held[-1] + 1) if len(held) else slice(0, 0)


def sparse_copy(voxels: np.ndarray) -> np.ndarray:
    """A copy of labels (..., J, I) that touches memory only for the k slices that have any: fresh memory is slow."""
    copy = np.zeros(voxels.shape, voxels.dtype)
    for index in np.ndindex(voxels.shape[:-2]):
        if voxels[index].any():
            copy[index] = voxels[index]
    return copy


def perpendicular(geometry: Geometry, path: Path) -> tuple[Geometry, list[str]]:
    """The grid with the nearest perpendicular axes, and a warning that says how far voxels moved.

    Raises BadInputError if they would move by SLIGHT or more.
    """
    turned = replace(geometry, direction=_nearest_rotation(geometry.direction))
    apart = geometry.displacement(turned)
    if apart <= SAME_TOLERANCE:
        return geometry, []
    if apart >= SLIGHT:
        raise BadInputError(
            f"{path} cannot be read: its axes are not perpendicular (the far corner is {apart:.2g} voxels off).",
            "Resample it to perpendicular axes, for example with nibabel's resample_to_output or ANTs' ResampleImage.",
        )
    return turned, [
        f"The axes of {path.name} are not quite perpendicular; the nearest perpendicular ones were taken, which moves "
        f"voxels by up to {apart:.2g} of their size."
    ]


def _nearest_rotation(direction: tuple[float, ...]) -> tuple[float, ...]:
    left, _, right = np.linalg.svd(np.reshape(direction, (3, 3)))
    return tuple((left @ right).ravel().tolist())


def _farthest(relative: np.ndarray, linear: np.ndarray, offset: np.ndarray, size: tuple[int, int, int]) -> float:
    """The largest difference along any axis between a grid's corners under two affine maps."""
    corners = corners_of(size)
    moved = corners @ relative[:3, :3].T + relative[:3, 3]
    return float(np.abs(moved - (corners @ linear.T + offset)).max())


def corners_of(size: tuple[int, int, int]) -> np.ndarray:
    """Indices (i, j, k) of the eight corner voxels, (8, 3)."""
    return np.array(np.meshgrid(*((0, length - 1) for length in size)), dtype=np.float64).reshape(3, 8).T


def _signed_permutation(matrix: np.ndarray, is_free: np.ndarray) -> np.ndarray | None:
    """The nearest matrix with one ±1 in each row and column; free columns take the rows that the others leave."""
    nearest = np.rint(matrix)
    nearest[:, is_free] = 0
    if np.abs(nearest).max() > 1 or (np.count_nonzero(nearest, axis=0)[~is_free] != 1).any():
        return None
    for column in np.flatnonzero(is_free):
        open_rows = np.flatnonzero(~nearest.any(axis=1))
        row = open_rows[np.abs(matrix[open_rows, column]).argmax()]
        nearest[row, column] = -1 if matrix[row, column] < 0 else 1
    return nearest if (np.count_nonzero(nearest, axis=1) == 1).all() else None


def _integers(values: np.ndarray) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third


def _floats(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
