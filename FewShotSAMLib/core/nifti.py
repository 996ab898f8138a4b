"""Reads exactly the NIfTI, Analyze or FreeSurfer file that is named, and writes NIfTI with both sform and qform.

ITK reads `x.nii` when asked for `x.nii.gz`, does not support NIfTI-2, and refuses matrices that are rounded.
Of the two ways to say where the voxels lie, sform and qform, the one that 3D Slicer uses is used; a result carries
both, so that other programs see it at the same place as the volume.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError, one_line_reason
from FewShotSAMLib.core.file_kind import GZIP, PAIR_ENDS
from FewShotSAMLib.core.files import compound_suffix
from FewShotSAMLib.core.geometry import Geometry, NiftiForms, corners_of, perpendicular
from FewShotSAMLib.core.integrity import COPY_AGAIN, MOST_EXPANSION, read_to_end
from FewShotSAMLib.core.packages import import_package
from FewShotSAMLib.core.stored import StoredImage, check_memory, check_spacing, no_spacing_warning, too_many_dimensions

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LARGEST_HEADER = 540
_GOOD_RAS = 28  # offset at which a FreeSurfer header says whether it knows voxel size and orientation
_MM = {1: 1e3, 3: 1e-3}  # the header's codes for metres and micrometres
_SCANNER = 1  # the code of a matrix in scanner coordinates
_NOTICEABLE = 0.05  # voxels: the user is told if sform and qform are further apart
_ROUNDING = 1e-6  # of float32


def read_nifti(path: Path) -> StoredImage:
    """Read NIfTI-1, NIfTI-2 or Analyze 7.5, one file or header and data, packed or not, whatever its suffix.

    Raises BadInputError for a file that is damaged, truncated, 4D or of complex numbers, and for a grid without size
    or with slanted axes.
    """
    header_path, data_path = header_and_data(path)
    try:
        header = _header(_bytes_of(header_path, _LARGEST_HEADER), header_path)
        shape = _shape(header, path)
        dtype = header.get_data_dtype()
        if dtype.itemsize == 0:
            raise ValueError("its voxels have no type")
        offset = _offset(header, header_path == data_path)
        content = _data(data_path, offset, math.prod(shape) * dtype.itemsize)
    except (EOFError, OSError, zlib.error, ValueError, KeyError, OverflowError) as error:
        raise BadInputError(f"{path} is damaged or truncated ({one_line_reason(error, 120)}).", COPY_AGAIN) from error
    voxels = _scaled(_voxels(content, shape, dtype, path), header)
    geometry, warnings = _geometry(header, (shape[0], shape[1], shape[2]), path)
    return StoredImage(voxels, geometry, {}, tuple(warnings))


def read_mgh(path: Path) -> StoredImage:
    """Read a FreeSurfer volume, `.mgh` or `.mgz`; raises BadInputError if it is not one."""
    nibabel = import_package("nibabel")
    try:
        content = path.read_bytes()
        if content[:2] == GZIP:
            content = gzip.decompress(content)
        image = nibabel.MGHImage.from_stream(io.BytesIO(content))
        voxels = np.asarray(image.dataobj)
        matrix = np.asarray(image.affine, dtype=np.float64)
    except Exception as error:
        raise BadInputError(
            f"{path} is not a complete FreeSurfer volume (.mgz): {one_line_reason(error, 120)}.",
            "Convert it: mri_convert FILE out.nii.gz.",
        ) from error
    if voxels.ndim != 3:
        raise BadInputError(
            f"{path} is not 3D but {voxels.shape}.", "Extract one frame of it, for example with mri_convert."
        )
    geometry, warnings = _from_matrix(matrix, (voxels.shape[0], voxels.shape[1], voxels.shape[2]), path)
    if struct.unpack_from(">h", content, _GOOD_RAS)[0] < 1:  # nibabel says 1 after taking FreeSurfer's defaults
        warnings += [_no_orientation(path, "its goodRASFlag is 0"), no_spacing_warning(path)]
    return StoredImage(_native(voxels.T), geometry, {}, tuple(warnings))


def write_nifti(voxels: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write (K, J, I) with the sform, the qform and their codes that the geometry came with. Raises OSError."""
    nibabel = import_package("nibabel")
    forms = geometry.forms
    assert forms is not None
    header = nibabel.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(geometry.size)
    header.set_xyzt_units("mm")
    header.set_zooms(geometry.spacing)
    header.set_qform(forms.qform, forms.qform_code)
    header.set_sform(forms.sform, forms.sform_code)
    if forms.qform_code == 0 < forms.sform_code and not _is_orthonormal(np.asarray(forms.sform)):
        # ITK and Slicer refuse a rounded sform by itself; together with a qform they read it.
        header.set_qform(_TO_LPS @ geometry.index_to_physical(), forms.sform_code)
    image = nibabel.Nifti1Image(voxels.T, None, header)
    image.to_filename(path)


def _is_orthonormal(matrix: np.ndarray) -> bool:
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < _ROUNDING)


def header_and_data(path: Path) -> tuple[Path, Path]:
    """The header file and the data file of an image; twice the same for a single file."""
    suffix = compound_suffix(path)
    if suffix not in (".hdr", ".hdr.gz", ".img", ".img.gz"):
        return path, path
    stem, is_header = path.name[: len(path.name) - len(suffix)], suffix.startswith(".hdr")
    found = []
    for given, ends in zip((is_header, not is_header), PAIR_ENDS, strict=True):
        names = sorted(ends, key=lambda end: end.endswith(".gz") != suffix.endswith(".gz"))  # those packed alike first
        file = path if given else next((f for end in names if (f := path.with_name(stem + end)).is_file()), None)
        if file is None:
            what = "data" if is_header else "header"
            raise BadInputError(
                f"{path} has no {what} file: {stem}{ends[0]} is not there.", f"Copy it too, to {path.parent}."
            )
        found.append(file)
    return found[0], found[1]


def _bytes_of(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
        stream.seek(0)
        if not packed:
            return stream.read(count)
        with gzip.GzipFile(fileobj=stream) as content:
            return content.read(count)


def _header(head: bytes, path: Path) -> Any:
    """nibabel's header of the right version: its length identifies NIfTI-2, its magic tells NIfTI-1 from Analyze."""
    nibabel = import_package("nibabel")
    kind = nibabel.Nifti1Header if head[344:347] in (b"n+1", b"ni1") else nibabel.Spm2AnalyzeHeader
    if 540 in struct.unpack_from("<i", head) + struct.unpack_from(">i", head):
        kind = nibabel.Nifti2Header
    if len(head) < kind.template_dtype.itemsize:
        raise EOFError("the header is cut off")
    return kind(head[: kind.template_dtype.itemsize], check=False)


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    """At least (I, J, K); raises BadInputError for 4D."""
    count = int(header["dim"][0])
    lengths = [int(length) for length in header["dim"][1 : count + 1]]
    if not (1 <= count <= 7 and lengths and min(lengths) > 0):
        raise ValueError(f"its size is {lengths}")
    while len(lengths) > 3 and lengths[-1] == 1:
        lengths.pop()
    if len(lengths) > 3:
        raise too_many_dimensions(path, lengths)
    return (*lengths, *[1] * (3 - len(lengths)))


def _offset(header: Any, is_single: bool) -> int:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < 0:
        raise ValueError(f"its data begin at byte {offset}")
    return max(int(offset), header.template_dtype.itemsize) if is_single else int(offset)


def _data(path: Path, offset: int, length: int) -> bytes:
    """`length` bytes from `offset` on; checks that they are there, and the checksum of packed ones."""
    size = path.stat().st_size
    check_memory(path, length)
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
        stream.seek(0)
        if offset + length > size * (MOST_EXPANSION if packed else 1):
            raise EOFError(f"{offset + length} bytes should be there")
        opened: Any = gzip.GzipFile(fileobj=stream) if packed else stream
        opened.read(offset)
        content = opened.read(length)
        if len(content) < length:
            raise EOFError(f"{length} bytes of voxels should be there, {len(content)} are")
        if packed:
            read_to_end(opened)
    return content


def _voxels(content: bytes, shape: tuple[int, ...], dtype: np.dtype, path: Path) -> np.ndarray:
    """(K, J, I) or (K, J, I, C) in this machine's byte order; raises BadInputError for complex numbers."""
    if dtype.kind == "c":
        raise BadInputError(f"{path} holds complex numbers.", "Export its magnitude.")
    stored = np.frombuffer(content, dtype).reshape(shape, order="F").T
    if dtype.names:  # RGB or RGBA
        return stored.view(np.uint8).reshape(*stored.shape, len(dtype.names))
    return _native(stored)


def _native(voxels: np.ndarray) -> np.ndarray:
    kind = voxels.dtype.newbyteorder("=")
    return voxels.astype(np.float64 if kind.itemsize > 8 else kind, copy=False)


def _scaled(voxels: np.ndarray, header: Any) -> np.ndarray:
    """Values after the header's slope and intercept, as float32; the stored ones if there is nothing to scale."""
    nibabel = import_package("nibabel")
    try:
        slope, intercept = header.get_slope_inter()
    except nibabel.spatialimages.HeaderDataError:
        slope, intercept = None, None
    if voxels.ndim != 3 or slope is None or (slope, intercept or 0) == (1, 0):
        return voxels
    scaled = np.empty(voxels.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for target, plane in zip(scaled, voxels, strict=True):
            target[...] = plane * float(slope) + float(intercept or 0)
    return scaled


def _geometry(header: Any, size: tuple[int, int, int], path: Path) -> tuple[Geometry, list[str]]:
    zooms = [abs(float(length)) for length in header["pixdim"][1:4]]
    if size[2] == 1 and not zooms[2] > 0:
        zooms[2] = 1.0
    if not hasattr(header, "get_sform"):  # Analyze 7.5
        check_spacing(path, zooms)
        return Geometry(size, (zooms[0], zooms[1], zooms[2])), [_no_orientation(path, "Analyze files cannot")]
    scale = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    zooms = [length * scale for length in zooms]
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    sform = _millimetres(header.get_sform(), scale)
    if sform_code <= 0 and qform_code <= 0:
        check_spacing(path, zooms)
        forms = NiftiForms(_matrix(sform), 0, _matrix(_millimetres(_qform(header, path), scale)), 0)
        return Geometry(size, (zooms[0], zooms[1], zooms[2]), forms=forms), [
            _no_orientation(path, "sform and qform have the code 0")
        ]
    takes_sform = sform_code == _SCANNER or sform_code > 0 >= qform_code
    if not takes_sform or qform_code > 0:
        check_spacing(path, [float(length) * scale for length in header["pixdim"][1:4]] if size[2] > 1 else zooms)
    qform = _millimetres(_qform(header, path), scale) if qform_code > 0 else _plain(zooms)
    forms = NiftiForms(_matrix(sform), max(sform_code, 0), _matrix(qform), max(qform_code, 0))
    chosen, name = (sform, "sform") if takes_sform else (qform, "qform")
    geometry, warnings = _from_matrix(chosen, size, path, forms)
    if sform_code > 0 and qform_code > 0:
        warnings += _disagreement(sform, qform, geometry, name, path)
    return geometry, warnings


def _qform(header: Any, path: Path) -> np.ndarray:
    nibabel = import_package("nibabel")
    try:
        if header["pixdim"][0] == 0:  # means 1, by the format's description
            header = header.copy()
            header["pixdim"][0] = 1
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (nibabel.spatialimages.HeaderDataError, ValueError) as error:
        raise BadInputError(f"The qform of {path} is not a rotation.", "Correct the file's header.") from error


def _plain(zooms: list[float]) -> np.ndarray:
    return np.diag([*(zoom if math.isfinite(zoom) and zoom > 0 else 1.0 for zoom in zooms), 1.0])


def _millimetres(matrix: np.ndarray, scale: float) -> np.ndarray:
    scaled = np.array(matrix, dtype=np.float64)
    scaled[:3] *= scale
    return scaled


def _matrix(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))


def _from_matrix(
    matrix: np.ndarray, size: tuple[int, int, int], path: Path, forms: NiftiForms | None = None
) -> tuple[Geometry, list[str]]:
    """The grid of a matrix from (i, j, k) to RAS mm, with perpendicular axes, and warnings of what that changed."""
    if not np.isfinite(matrix).all():
        raise BadInputError(f"The orientation of {path} holds values that are not numbers.", "Correct its header.")
    check_spacing(path, np.linalg.norm(matrix[:3, :3], axis=0).tolist())
    return perpendicular(Geometry.of_ras(matrix, size, forms), path)


def _no_orientation(path: Path, why: str) -> str:
    return (
        f"{path.name} does not state its orientation in the patient ({why}), so that left and right are unknown. "
        "Check them, or convert the original images again."
    )


def _disagreement(sform: np.ndarray, qform: np.ndarray, geometry: Geometry, used: str, path: Path) -> list[str]:
    corners = np.column_stack([corners_of(geometry.size), np.ones(8)])
    apart = float(np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max())
    if apart < _NOTICEABLE * min(geometry.spacing):
        return []
    return [
        f"{path.name} states two positions of its voxels, up to {apart:.3g} mm apart; its {used} was used, as in 3D "
        "Slicer. A result saved as NIfTI states both, so that it lies on the volume in every program."
    ]
