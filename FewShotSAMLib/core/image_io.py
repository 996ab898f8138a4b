"""Reads image files, each kind with the library that reads it correctly, and writes them."""

import math
import re
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.file_kind import (
    DICOM,
    FORMATS_HINT,
    META_IMAGE,
    MGH,
    NIFTI,
    NRRD,
    file_kind,
    has_no_spacing,
    head_of,
    itk_reader,
)
from FewShotSAMLib.core.files import atomic_path, cannot_write, check_writable, compound_suffix, plain_name
from FewShotSAMLib.core.geometry import SLIGHT, Geometry
from FewShotSAMLib.core.integrity import check_meta_image, check_nrrd, check_written, finished_list
from FewShotSAMLib.core.nifti import read_mgh, read_nifti, write_nifti
from FewShotSAMLib.core.stored import MODALITY_KEY, StoredImage, modality_of, no_spacing_warning, too_many_dimensions

WRITABLE_SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_PICTURE_HEAD = 4096
_LARGEST_NIFTI = 32767  # voxels along an axis; NIfTI-1 counts in 16 bits


class _PixelBuffer:
    """Exposes the memory of a SimpleITK image to numpy without a copy, and keeps the image alive meanwhile."""

    def __init__(self, image: SimpleITK.Image) -> None:
        self._image = image
        self.__array_interface__ = SimpleITK.GetArrayViewFromImage(image).__array_interface__


def read_image(path: Path) -> StoredImage:
    """Read a 2D or 3D image file of any number of components; its content, not its suffix, decides its format.

    Raises BadInputError for a missing, unreadable, truncated, complex or 4D file, for DICOM, and for other kinds.
    """
    kind = file_kind(path)
    if kind == DICOM:
        raise BadInputError(f"{path} is a DICOM file.", "Give the folder of its series, or a NRRD or NIfTI file.")
    if kind == NIFTI:
        return read_nifti(path)
    if kind == MGH:
        return read_mgh(path)
    warnings = check_nrrd(path) if kind == NRRD else check_meta_image(path) if kind == META_IMAGE else []
    whole = finished_list(path) if kind == META_IMAGE else b""
    image = _read_list(whole) if whole else _read_with_itk(path, itk_reader(path, kind))
    if has_no_spacing(path):
        _check_pages(path, image)
        warnings = [no_spacing_warning(path, geometry_of(image).spacing)]
    metadata = _metadata(image)
    modality = modality_of(metadata.get(MODALITY_KEY))
    return StoredImage(_pixels(image, path), geometry_of(image), metadata, tuple(warnings), modality)


def _read_with_itk(path: Path, io: str) -> SimpleITK.Image:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(plain_name(path))
    reader.SetImageIO(io)
    try:
        reader.ReadImageInformation()
        size = list(reader.GetSize())
        if any(length > 1 for length in size[3:]):
            raise too_many_dimensions(path, size)
        if len(size) > 3:
            reader.SetExtractSize([*size[:3], *[0] * (len(size) - 3)])
        return reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error, is_known=bool(io)) from error


def _read_list(header: bytes) -> SimpleITK.Image:
    with tempfile.TemporaryDirectory(prefix="fewshotsam-") as folder:
        copy = Path(folder) / "list.mhd"
        copy.write_bytes(header)
        return _read_with_itk(copy, "MetaImageIO")


def _check_pages(path: Path, image: SimpleITK.Image) -> None:
    """Raise BadInputError for an ImageJ TIFF that describes only its first page: other readers see one slice."""
    stated = re.search(rb"ImageJ=\S*\s+images=(\d+)", head_of(path)[0])
    if stated and int(stated[1]) > math.prod(image.GetSize()[2:]):
        raise BadInputError(
            f"{path} holds {stated[1].decode()} slices in ImageJ's own way, of which other programs see one.",
            "In Fiji, give it its voxel size and save it as NRRD.",
        )


def _metadata(image: SimpleITK.Image) -> dict[str, str]:
    """The header's fields, without those whose names are not valid text: SimpleITK cannot return them."""
    return {key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.isascii() or key.isprintable()}


def _pixels(image: SimpleITK.Image, path: Path) -> np.ndarray:
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


def itk_image(voxels: np.ndarray, geometry: Geometry) -> SimpleITK.Image:
    """An array (K, J, I) as a SimpleITK image with this geometry."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def write_image(voxels: np.ndarray, geometry: Geometry, path: Path, modality: str = "") -> None:
    """Write a volume (K, J, I), compressed and atomically; the suffix is one of WRITABLE_SUFFIXES. modality: as in
    DICOM, kept in NRRD and MetaImage.

    Raises BadInputError for another suffix, a missing or read-only folder, a full disk, and a grid that the format
    cannot hold.
    """
    check_image_output(path, geometry)
    with atomic_path(path) as temporary:
        try:
            if _keeps_forms(path, geometry):
                write_nifti(voxels, geometry, temporary)
            else:
                _write_with_itk(voxels, geometry, temporary, modality)
                check_written(temporary, voxels.nbytes)
        except (RuntimeError, BadInputError) as error:  # all that SimpleITK says of any disk error, if it notices
            raise cannot_write(path, OSError("the disk is full or broken")) from error


def _write_with_itk(voxels: np.ndarray, geometry: Geometry, path: Path, modality: str) -> None:
    image = itk_image(voxels, geometry)
    if modality:
        image.SetMetaData(MODALITY_KEY, modality)
    writer = SimpleITK.ImageFileWriter()
    writer.SetUseCompression(compound_suffix(path) != ".nii")
    writer.SetCompressionLevel(1)  # label maps shrink as well at the fastest level
    writer.SetFileName(plain_name(path))
    writer.Execute(image)


def write_picture(picture: np.ndarray, path: Path, quality: int = -1) -> None:
    """Write (height, width, 3) uint8 as PNG or, with a quality, JPEG. path: one of `atomic_path`'s. Raises
    BadInputError if it cannot be written."""
    image = SimpleITK.GetImageFromArray(picture, isVector=True)
    try:
        # First make sure that there is space: the JPEG library ends the process if there is none.
        path.write_bytes(bytes(picture.nbytes + _PICTURE_HEAD))
        SimpleITK.WriteImage(image, plain_name(path), useCompression=True, compressionLevel=quality)
        check_written(path)
    except (RuntimeError, OSError, BadInputError) as error:
        raise cannot_write(path, OSError("the disk is full or broken")) from error


def _keeps_forms(path: Path, geometry: Geometry) -> bool:
    """Whether the output is NIfTI and the grid is still the one stated in the NIfTI file that it came from."""
    if compound_suffix(path) not in _NIFTI_SUFFIXES or geometry.forms is None:
        return False
    stated = geometry.as_written_in()
    return not stated or any(grid.displacement(geometry) < SLIGHT for grid in stated)


def check_image_output(path: Path, geometry: Geometry | None = None) -> None:
    """Raise BadInputError if `write_image` could not write this file, or not a volume on this grid."""
    check_suffix(path, WRITABLE_SUFFIXES)
    check_writable(path)
    if geometry is not None:
        check_grid(path, geometry)


def check_grid(path: Path, geometry: Geometry) -> None:
    """Raise BadInputError if the format that the suffix stands for cannot hold the grid."""
    if compound_suffix(path) not in _NIFTI_SUFFIXES or _keeps_forms(path, geometry):
        return
    if (slant := geometry.slant()) >= SLIGHT:
        raise BadInputError(
            f"{path.name}: NIfTI cannot hold the axes of this volume, which are not perpendicular (a tilted gantry); "
            f"the result would be off by up to {slant:.2g} voxels.",
            "Choose an output name that ends in .seg.nrrd or .nrrd.",
        )
    if max(geometry.size) > _LARGEST_NIFTI:
        raise BadInputError(f"{path.name}: NIfTI holds at most {_LARGEST_NIFTI} voxels a side.", "Use .nrrd.")


def check_suffix(path: Path, allowed: tuple[str, ...]) -> None:
    """Raise BadInputError if the suffix of an output is not one of those allowed."""
    if compound_suffix(path) not in allowed:
        raise BadInputError(f"{path.name} has no suffix that can be written.", f"Use one of {', '.join(allowed)}.")


def _unreadable(path: Path, error: Exception, is_known: bool) -> BadInputError:
    suffix = compound_suffix(path)
    text, why = str(error), ""
    if "bad_alloc" in text or "allocat" in text.lower():
        return BadInputError(f"{path} is larger than the memory, or its header is damaged.", "Crop or resample it.")
    if cause := re.search(r"\[nrrd\] \w+: ([^\n]+)\s*$", text):  # the last cause in the text is the original one
        why = f" ({cause[1]})"
    kind = f"as {suffix}" if suffix else "as any image"
    if not is_known and not re.search(rb"[^\t-\r -~]", head_of(path)[0]):
        why = " (it is a text file)"
    return BadInputError(
        f"{path} cannot be read {kind}: it is damaged, or not an image of a known kind{why}.", FORMATS_HINT
    )
