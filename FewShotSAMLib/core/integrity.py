"""Notices damaged and truncated image files that SimpleITK accepts.

SimpleITK reports truncated NRRD and MetaImage files by itself. Of NIfTI files it takes what is there and leaves the
rest of the volume zero or, worse, full of whatever the memory held before; of compressed NRRD and MetaImage files it
does not check the checksum.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import compound_suffix

_CHUNK = 1 << 20
_NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz")


def check_whole(path: Path) -> None:
    """Raise BadInputError for a NIfTI, NRRD or MetaImage file whose voxels are cut off or fail their checksum."""
    suffix = compound_suffix(path)
    try:
        if suffix in _NIFTI:
            whole = _is_nifti_whole(path, suffix)
        else:
            if path.suffix.lower() in (".nrrd", ".nhdr"):
                _verify_nrrd(path)
            elif suffix in (".mha", ".mhd"):
                _verify_meta_image(path)
            whole = True
    except (EOFError, OSError, zlib.error, struct.error) as error:
        raise _damaged(path) from error
    if not whole:
        raise _damaged(path)


def _damaged(path: Path) -> BadInputError:
    return BadInputError(f"{path} is damaged or truncated.", "Copy, download or export it again.")


def _is_nifti_whole(path: Path, suffix: str) -> bool:
    """Whether a NIfTI-1, NIfTI-2 or Analyze file, single or header and data, is as long as its header says."""
    if suffix in (".nii", ".nii.gz"):
        return _nifti_length(path) >= _nifti_bytes(path, is_single_file=True)
    stem = path.with_name(path.name[: -len(suffix)])
    data = next((file for end in (".img", ".img.gz") if (file := Path(f"{stem}{end}")).is_file()), path)
    return _nifti_length(data) >= _nifti_bytes(Path(f"{stem}.hdr"), is_single_file=False)


def _nifti_bytes(path: Path, is_single_file: bool) -> int:
    """Bytes that header and voxels take, by the header (https://nifti.nimh.nih.gov)."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        head = stream.read(540)
    order = "<" if struct.unpack_from("<i", head)[0] in (348, 540) else ">"
    if struct.unpack_from(f"{order}i", head)[0] == 540:
        count, *lengths = struct.unpack_from(f"{order}8q", head, 16)
        bits, offset = struct.unpack_from(f"{order}h", head, 14)[0], struct.unpack_from(f"{order}q", head, 168)[0]
    else:
        count, *lengths = struct.unpack_from(f"{order}8h", head, 40)
        bits, offset = struct.unpack_from(f"{order}h", head, 72)[0], int(struct.unpack_from(f"{order}f", head, 108)[0])
    voxels = int(np.prod([max(1, length) for length in lengths[: max(0, count)]], dtype=np.int64))
    return (offset if is_single_file else 0) + voxels * bits // 8


def _nifti_length(path: Path) -> int:
    if path.suffix.lower() != ".gz":
        return path.stat().st_size
    with path.open("rb") as stream:
        return _gunzipped_length(stream)


def _gunzipped_length(stream: BinaryIO) -> int:
    """Bytes that the rest of a stream decompresses to; raises OSError, EOFError or zlib.error where it is damaged."""
    total, buffer = 0, bytearray(_CHUNK)
    with gzip.GzipFile(fileobj=stream) as content:
        while count := content.readinto(buffer):
            total += count
    return total


def _verify_nrrd(path: Path) -> None:
    """Check the checksum of gzip data; http://teem.sourceforge.net/nrrd/format.html."""
    with path.open("rb") as stream:
        fields = {}
        while line := stream.readline().strip():
            key, _, value = line.partition(b": ")
            fields[key.lower()] = value.strip()
        detached = fields.get(b"data file", fields.get(b"datafile", b"")).decode("utf-8", "surrogateescape")
        if fields.get(b"encoding") not in (b"gzip", b"gz") or b"line skip" in fields or b"byte skip" in fields:
            return
        if not detached:
            _gunzipped_length(stream)
        elif (data := path.parent / detached).is_file():
            with data.open("rb") as data_stream:
                _gunzipped_length(data_stream)


def _verify_meta_image(path: Path) -> None:
    """Check the checksum of zlib data; the field ElementDataFile is the last before the data."""
    with path.open("rb") as stream:
        fields: dict[bytes, bytes] = {}
        while b"ElementDataFile" not in fields and (line := stream.readline()):
            key, _, value = line.partition(b"=")
            fields[key.strip()] = value.strip()
        where = fields.get(b"ElementDataFile", b"").decode("utf-8", "surrogateescape")
        if fields.get(b"CompressedData", b"").lower() != b"true":
            return
        if where.upper() == "LOCAL":
            _verify_zlib(stream)
        elif (data := path.parent / where).is_file():
            with data.open("rb") as data_stream:
                _verify_zlib(data_stream)


def _verify_zlib(stream: BinaryIO) -> None:
    decompressor = zlib.decompressobj()
    pending = b""
    while not decompressor.eof:
        pending = pending or stream.read(_CHUNK)
        if not pending:
            raise EOFError("the data end too early")
        decompressor.decompress(pending, _CHUNK)
        pending = decompressor.unconsumed_tail
