"""Reads and writes image files through SimpleITK, and refuses the damaged ones that SimpleITK accepts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path, compound_suffix
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.integrity import check_whole

FORMATS_HINT = "Give a NRRD, NIfTI or MetaImage file that opens in 3D Slicer, or a folder with one DICOM series."
WRITABLE_SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")


@dataclass(frozen=True, eq=False)
class StoredImage:
    """What a file holds: voxels (K, J, I) or, with several components, (K, J, I, C), read-only, in the stored dtype."""

    voxels: np.ndarray
    geometry: Geometry
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class _PixelBuffer:
    """Shows the memory of a SimpleITK image to numpy without a copy and keeps the image alive meanwhile."""

    def __init__(self, image: SimpleITK.Image) -> None:
        self._image = image
        self.__array_interface__ = SimpleITK.GetArrayViewFromImage(image).__array_interface__


def read_image(path: Path) -> StoredImage:
    """Read a 2D or 3D image file of any number of components.

    Raises BadInputError for a missing, unreadable, truncated, complex or 4D file.
    """
    if not path.exists():
        raise BadInputError(f"{path} does not exist.", "Check the spelling and the folder.")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        check_whole(path)
        size = list(reader.GetSize())
        if any(length > 1 for length in size[3:]):
            raise BadInputError(
                f"{path} is a 4D image ({' x '.join(map(str, size))}).",
                "Export one of its 3D volumes to a file of its own.",
            )
        if len(size) > 3:
            reader.SetExtractSize([*size[:3], *[0] * (len(size) - 3)])
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return StoredImage(pixels(image, path), geometry_of(image), metadata)


def pixels(image: SimpleITK.Image, path: Path) -> np.ndarray:
    """The voxels of an image, (K, J, I) or (K, J, I, C), read-only, sharing its memory."""
    if "complex" in image.GetPixelIDTypeAsString():
        raise BadInputError(f"{path} holds complex numbers.", "Export its magnitude.")
    voxels = np.asarray(_PixelBuffer(image))
    return voxels if image.GetDimension() == 3 else voxels[np.newaxis]


def geometry_of(image: SimpleITK.Image) -> Geometry:
    """Geometry of a 2D or 3D image; a 2D one becomes a slice 1 mm thick."""
    if image.GetDimension() == 3:
        return Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    direction = np.eye(3)
    direction[:2, :2] = np.reshape(image.GetDirection(), (2, 2))
    (width, height), (x, y), (left, top) = image.GetSize(), image.GetSpacing(), image.GetOrigin()
    return Geometry((width, height, 1), (x, y, 1.0), (left, top, 0.0), tuple(direction.ravel().tolist()))


def write_image(voxels: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a volume (K, J, I), compressed, whole or not at all; the suffix is one of WRITABLE_SUFFIXES.

    Raises BadInputError for another suffix, a missing or read-only folder, a full disk.
    """
    check_suffix(path, WRITABLE_SUFFIXES)
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    writer = SimpleITK.ImageFileWriter()
    writer.SetUseCompression(compound_suffix(path) != ".nii")
    writer.SetCompressionLevel(1)  # label maps shrink as well at the fastest level
    with atomic_path(path) as temporary:
        writer.SetFileName(str(temporary))
        try:
            writer.Execute(image)
        except RuntimeError as error:
            raise BadInputError(f"{path} could not be written.", "Check the free space of the disk.") from error


def check_suffix(path: Path, allowed: tuple[str, ...]) -> None:
    """Raise BadInputError where the suffix of an output is not one of those allowed."""
    if compound_suffix(path) not in allowed:
        raise BadInputError(f"{path.name} has no suffix that can be written.", f"Use one of {', '.join(allowed)}.")


def _unreadable(path: Path, error: Exception) -> BadInputError:
    if "orthonormal" in str(error):
        hint = "Resample it to a grid with perpendicular axes, in 3D Slicer with the module Resample Scalar Volume."
        return BadInputError(f"{path} cannot be read: its axes are not perpendicular.", hint)
    return BadInputError(f"{path} cannot be read: it is no image file, or it is damaged or truncated.", FORMATS_HINT)
