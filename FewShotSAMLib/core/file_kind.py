"""Recognises a file's kind by its content, whatever its name, and says what to do with one that cannot be read."""

import re
import struct
import zlib
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import check_name, compound_suffix

NRRD, META_IMAGE, NIFTI, MGH, DICOM, OTHER = "NRRD", "MetaImage", "NIfTI", "FreeSurfer", "DICOM", "other"
FORMATS_HINT = "Give a NRRD, NIfTI or MetaImage file that opens in 3D Slicer, or a folder with one DICOM series."
GZIP = b"\x1f\x8b"
PAIR_ENDS = ((".hdr", ".hdr.gz", ".HDR"), (".img", ".img.gz", ".IMG"))
"""The suffixes of a NIfTI or Analyze header and of its data, if they are two files."""
_HEAD = 2048
_AS_NRRD = "Open it in the program that wrote it, or in 3D Slicer, and save the volume as .nrrd."

# What cannot be read, by its first bytes: (bytes, what it is, what to do).
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a packed archive (.zip)", "Unpack it and give the volume file or the DICOM folder in it."),
    (b"PK\x05\x06", "an empty archive (.zip)", "Download or pack it again."),
    (b"7z\xbc\xaf", "a packed archive (.7z)", "Unpack it and give the volume file or the DICOM folder in it."),
    (b"Rar!", "a packed archive (.rar)", "Unpack it and give the volume file or the DICOM folder in it."),
    (b"BZh", "a file packed with bzip2", "Unpack it first: bunzip2 FILE."),
    (b"\xfd7zXZ", "a file packed with xz", "Unpack it first: unxz FILE."),
    (b"\x28\xb5\x2f\xfd", "a file packed with zstd", "Unpack it first: unzstd FILE."),
    (b"\x93NUMPY", "a NumPy array (.npy), which holds no voxel size", "Save it as .nrrd with pynrrd or SimpleITK."),
    (b"MATLAB", "a MATLAB file (.mat)", "Save the volume with its voxel size as .nrrd or .nii."),
    (b"<MRML", "a Slicer scene (.mrml)", "Open it in 3D Slicer and save the volume as .nrrd."),
    (b"<VTKFile", "a VTK XML file", _AS_NRRD),
    (b"%PDF", "a PDF document", FORMATS_HINT),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the file: git lfs pull."),
    (b"<!doctype html", "a web page: the download went wrong", "Download the file again, logged in where necessary."),
    (b"<html", "a web page: the download went wrong", "Download the file again, logged in where necessary."),
    (b"solid ", "a surface (.stl), not a volume", "In 3D Slicer, convert it to a segmentation and save that."),
)
_ITK_BY_CONTENT: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "PNGImageIO"),
    (b"\xff\xd8\xff", "JPEGImageIO"),
    (b"II*\0", "TIFFImageIO"),
    (b"MM\0*", "TIFFImageIO"),
    (b"II+\0", "TIFFImageIO"),
    (b"\0\0\0\x0cjP  ", "JPEG2000ImageIO"),
    (b"\xff\x4f\xff\x51", "JPEG2000ImageIO"),
    (b"# vtk DataFile", "VTKImageIO"),
)


def head_of(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked if it is gzip, and whether it is."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head[:2] != GZIP:
        return head, False
    try:
        return zlib.decompressobj(31).decompress(head, _HEAD), True
    except zlib.error:
        return b"", True


def file_kind(path: Path) -> str:
    """The kind of a file by its content: one of the constants above.

    Raises BadInputError if it is missing, not a file, empty, or of a kind that is not read here, which it names.
    """
    check_name(path)
    if not path.exists():
        raise BadInputError(f"{path} does not exist.", "Check the spelling and the folder.")
    if not path.is_file():
        raise BadInputError(f"{path} is a folder or a device, not a file.", FORMATS_HINT)
    try:
        head, packed = head_of(path)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}).", "Check its permissions.") from error
    suffix = compound_suffix(path)
    if not head and not packed:
        raise BadInputError(f"{path} is empty: it is damaged or was never written.", "Copy or export it again.")
    kind = _plain_kind(head)
    if is_nifti_header(head) or (suffix in (".img", ".img.gz") and (kind == OTHER or _has_header(path))):
        return NIFTI
    if _is_mgh(head) or suffix in (".mgz", ".mgh"):
        return MGH
    if packed:
        _refuse_packed(path, kind, head)
    _refuse_foreign(path, head, suffix)
    return kind


def _plain_kind(head: bytes) -> str:
    if head[:4] == b"NRRD":
        return NRRD
    if is_dicom_head(head):
        return DICOM
    if re.search(rb"^\s*NDims\s*[=:]", head, re.MULTILINE):
        return META_IMAGE
    return OTHER


def is_dicom_head(head: bytes) -> bool:
    """Whether a file has the DICOM mark after its preamble (PS3.10 7.1) or starts with an element of group 2 or 8."""
    return head[128:132] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00")


def is_nifti_header(head: bytes) -> bool:
    """Whether bytes begin like the header of NIfTI-1, NIfTI-2 or Analyze 7.5, in either byte order."""
    if len(head) < 348:
        return False
    return any(struct.unpack_from(f"{order}i", head)[0] in (348, 540) for order in "<>")


def _is_mgh(head: bytes) -> bool:
    if len(head) < 284:
        return False
    version, *sizes, kind = struct.unpack_from(">6i", head)
    return version == 1 and kind in (0, 1, 3, 4, 10) and all(0 < size < 1 << 16 for size in sizes)


def _has_header(path: Path) -> bool:
    """Whether a NIfTI or Analyze data file, which may begin with any bytes, has its header next to it."""
    stem = path.name[: len(path.name) - len(compound_suffix(path))]
    return any(path.with_name(f"{stem}{end}").is_file() for end in PAIR_ENDS[0])


def itk_reader(path: Path, kind: str) -> str:
    """The name of SimpleITK's reader for a file; empty if its own choice by the suffix is as good."""
    if kind in (NRRD, META_IMAGE):
        return {NRRD: "NrrdImageIO", META_IMAGE: "MetaImageIO"}[kind]
    if compound_suffix(path) == ".lsm":
        return ""
    head, _ = head_of(path)
    return next((reader for mark, reader in _ITK_BY_CONTENT if head.startswith(mark)), "")


def has_no_spacing(path: Path) -> bool:
    """Whether a file does not state the size of its voxels in mm: a picture, or MRC, which has it in ångström."""
    head, _ = head_of(path)
    pictures = (mark for mark, reader in _ITK_BY_CONTENT if reader[:3] != "VTK")
    return head[:2] == b"BM" or head[208:211] == b"MAP" or any(map(head.startswith, pictures))


def _refuse_packed(path: Path, kind: str, head: bytes) -> None:
    if not head:
        raise BadInputError(f"{path} is damaged: it is not a complete gzip file.", "Copy, download or export it again.")
    inside = {OTHER: ""}.get(kind, f" ({kind} inside)")
    what = "an archive (.tar.gz)" if head[257:262] == b"ustar" else f"packed with gzip as a whole{inside}"
    raise BadInputError(f"{path} is {what}.", "Unpack it and give the file or folder that it holds.")


def _refuse_foreign(path: Path, head: bytes, suffix: str) -> None:
    start = re.sub(rb"^[\xef\xbb\xbf\s]*(<\?xml[^>]*>\s*)?", b"", head)
    for mark, what, hint in _FOREIGN:
        if start[: len(mark)].lower() == mark.lower():
            if suffix == ".mrb":
                what, hint = "a Slicer scene (.mrb)", "Open it in 3D Slicer and save the volume as .nrrd."
            elif suffix == ".npz":
                what, hint = "a bundle of NumPy arrays (.npz)", "Save the volume with its voxel size as .nrrd."
            raise BadInputError(f"{path} is {what}.", hint)
    if head[257:262] == b"ustar":
        raise BadInputError(f"{path} is an archive (.tar).", "Unpack it and give the file or folder that it holds.")
    if head[8:24].lstrip()[:2] == b'{"' and suffix != ".nrrd":
        raise BadInputError(f"{path} is a few-shot model or other weights.", "Give a volume in its place.")
