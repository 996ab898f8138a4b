"""A volume: voxels, their geometry and a name, read from the formats of 3D Slicer."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.dicom import Step, ignore_progress, read_dicom_file, read_dicom_folder
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import DICOM, file_kind
from FewShotSAMLib.core.files import check_name, compound_suffix
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import read_image
from FewShotSAMLib.core.stored import StoredImage

_NO_RGB = ("HSV-color", "XYZ-color", "3-normal", "covariant-vector", "point", "quaternion")


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels (K, J, I), or (K, J, I, 3) uint8 for RGB, in the stored dtype; `warnings`: texts for the user.

    modality, source: from DICOM, see StoredImage.
    """

    voxels: np.ndarray
    geometry: Geometry
    name: str = "volume"
    warnings: tuple[str, ...] = ()
    modality: str = ""
    source: tuple[Any, ...] = ()

    @property
    def is_rgb(self) -> bool:
        """Whether each voxel is a colour."""
        return self.voxels.ndim == 4

    def slice_at(self, axis: int, index: int) -> np.ndarray:
        """View (rows, columns) or (rows, columns, 3) of one slice along array axis 0 = k, 1 = j, 2 = i."""
        return self.voxels[(slice(None),) * axis + (index,)]

    @cached_property
    def content_hash(self) -> str:
        """Digest of voxels, dtype, shape and spacing as 40 hexadecimal digits, the same on every machine."""
        dtype = self.voxels.dtype.newbyteorder("<")
        spacing = [float(f"{length:.6g}") for length in self.geometry.spacing]
        digest = hashlib.blake2b(repr((dtype.str, self.voxels.shape, spacing)).encode(), digest_size=20)
        for plane in self.voxels:  # slice by slice, so as not to copy a whole volume that is not contiguous
            digest.update(np.ascontiguousarray(plane, dtype=dtype).data)
        return digest.hexdigest()


def read_volume(path: Path | str, step: Step = ignore_progress) -> Volume:
    """Read a NRRD, NIfTI or MetaImage file, a 2D image (one slice), or a DICOM series by its folder or any file of it.

    RGB and RGBA images of 8 bits become RGB volumes. NaN and infinite voxels become the smallest finite value, with
    a warning. Raises BadInputError for a file that is missing, unreadable, truncated, 4D, constant, or neither grey
    nor RGB. step: see `dicom.Step`.
    """
    path = Path(path)
    check_name(path)
    if path.is_dir():
        stored = read_dicom_folder(path, step)
    else:
        stored = read_dicom_file(path, step) if file_kind(path) == DICOM else read_image(path)
    voxels = _scalar_or_rgb(stored, path)
    voxels, warnings = _checked_range(voxels, path)
    name = volume_name(path.resolve())
    return Volume(voxels, stored.geometry, name, stored.warnings + warnings, stored.modality, stored.source)


def volume_name(path: Path) -> str:
    """The name of a volume: that of its file, without the suffix, or of its series' folder."""
    suffix = "" if path.is_dir() else compound_suffix(path)
    return path.name.removesuffix(path.name[len(path.name) - len(suffix) :])


def _scalar_or_rgb(stored: StoredImage, path: Path) -> np.ndarray:
    voxels = stored.voxels
    if voxels.ndim == 3:
        return voxels
    kind = stored.metadata.get("NRRD_kinds[pixel]", "")
    if kind in ("list", "time") or voxels.shape[3] > 4:
        raise BadInputError(
            f"{path} holds {voxels.shape[3]} volumes in one file (4D, such as time points or echoes).",
            "Export one of them to a file of its own.",
        )
    if voxels.shape[3] in (3, 4) and voxels.dtype == np.uint8 and kind not in _NO_RGB:
        return voxels[..., :3]
    raise BadInputError(
        f"{path} holds {voxels.shape[3]} values of type {voxels.dtype} per voxel, neither a grey nor a colour volume.",
        "Save one of them as a volume; colours with 8 bits each.",
    )


def _checked_range(voxels: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Replace non-finite values (copying only then) and refuse a constant volume."""
    low, high, odd = np.inf, -np.inf, 0
    for plane in voxels:
        values = plane
        if plane.dtype.kind == "f":
            finite = np.isfinite(plane)
            bad = plane.size - int(np.count_nonzero(finite))
            odd += bad
            values = plane[finite] if bad else plane
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
    if not low < high:
        raise BadInputError(f"{path} is constant: no voxel differs from any other.", "Check that it is the right file.")
    if not odd:
        return voxels, ()
    repaired = voxels.copy()
    for plane in repaired:
        plane[~np.isfinite(plane)] = low
    warning = (
        f"{odd} voxels of {path.name} are NaN or infinite; they were read as {low:.6g}, the smallest finite value."
    )
    return repaired, (warning,)


def volume_of(voxels: np.ndarray, geometry: Geometry, name: str = "volume") -> Volume:
    """A volume from an array (K, J, I), or (K, J, I, 3) uint8 for RGB. Raises BadInputError as `read_volume` does, and
    if the array does not have the geometry's shape."""
    if voxels.shape[:3] != geometry.shape or voxels.ndim not in (3, 4) or voxels.dtype.kind not in "iuf":
        raise BadInputError(
            f"An array {voxels.shape} of {voxels.dtype} is not a volume of {geometry.shape} voxels (k, j, i).",
            "Give numbers in the order (k, j, i), and the geometry's size as (i, j, k).",
        )
    checked, warnings = _checked_range(_scalar_or_rgb(StoredImage(voxels, geometry), Path(name)), Path(name))
    return Volume(checked, geometry, name, warnings)
