"""Looks at the text headers of NRRD and MetaImage files before SimpleITK does: what is missing, damaged or senseless.

SimpleITK reports all of that as one failure, does not check the checksum of compressed data, takes 1 mm for a voxel
size that is not given, and asks for as much memory as a damaged header says.
"""

import gzip
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar

from FewShotSAMLib.core.errors import BadInputError

Number = TypeVar("Number", int, float)
_CHUNK = 1 << 20
_MOST_HEADER_LINES = 100_000
MOST_EXPANSION = 1032
"""How much longer than its packed form data can be; the limit of the deflate format."""
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
    "float": 4,
}
_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4, "FLOAT": 4}
_META_BYTES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}
_COPY = "Copy, download or export it again."


def check_nrrd(path: Path) -> list[str]:
    """Raise BadInputError for a NRRD file that is cut off, damaged, or places its voxels nowhere; returns warnings.

    Format: http://teem.sourceforge.net/nrrd/format.html.
    """
    with path.open("rb") as stream:
        fields = _nrrd_fields(stream)
        sizes = _numbers(fields.get("sizes", ""), int, path, "sizes")
        kind = fields.get("type", "").lower()
        if kind not in _NRRD_BYTES:
            raise BadInputError(f"{path} is damaged: it holds voxels of type {kind!r}, which does not exist.", _COPY)
        if len(sizes) != _whole(fields.get("dimension", "")) or min(sizes, default=0) <= 0:
            raise BadInputError(f"{path} is damaged: its sizes are {fields.get('sizes', 'not given')}.", _COPY)
        expected = math.prod(sizes) * _NRRD_BYTES[kind]
        detached = fields.get("data file", fields.get("datafile", ""))
        encoding = fields.get("encoding", "").lower()
        simple = not any(name in fields for name in ("line skip", "lineskip", "byte skip", "byteskip"))
        try:
            _check_nrrd_data(path, stream, detached, encoding, expected, simple)
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(path) from error
    return _check_nrrd_grid(path, fields, len(sizes))


def _check_nrrd_data(path: Path, stream: BinaryIO, detached: str, encoding: str, expected: int, simple: bool) -> None:
    if re.match(r"LIST\b", detached) or "%" in detached:
        return  # data in many files: SimpleITK finds them, or names the one that it misses
    if detached:
        with _beside(path, detached).open("rb") as data:
            _check_nrrd_stream(path, data, encoding, expected, simple)
    else:
        _check_nrrd_stream(path, stream, encoding, expected, simple)


def _check_nrrd_stream(path: Path, stream: BinaryIO, encoding: str, expected: int, simple: bool) -> None:
    left = _left(stream)
    if encoding == "raw":
        if left < expected:
            raise _damaged(path)
    elif encoding in ("gzip", "gz"):
        if expected > left * MOST_EXPANSION or (simple and gunzipped_length(stream) < expected):
            raise _damaged(path)
    elif expected > left * MOST_EXPANSION:
        raise _damaged(path)


def _check_nrrd_grid(path: Path, fields: Mapping[str, str], dimension: int) -> list[str]:
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    lengths: list[float | None] = []
    if directions:
        vectors = [None if text == "none" else _numbers(text, float, path, "space directions") for text in directions]
        lengths = [math.hypot(*vector) for vector in vectors if vector is not None]
    elif "spacings" in fields:
        given = _numbers(fields["spacings"], float, path, "spacings")
        lengths = [None if math.isnan(value) else abs(value) for value in given]
    _check_spacing(path, [length for length in lengths if length is not None])
    origin = fields.get("space origin", "")
    if origin and not all(map(math.isfinite, _numbers(origin, float, path, "space origin"))):
        raise BadInputError(f"The origin of {path} is {origin}: it lies nowhere.", "Correct its header.")
    warnings = []
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"mm", "millimeter", "millimeters", ""}
    if units:
        warnings.append(f"{path.name} gives its voxel size in {', '.join(sorted(units))}; it was read as mm, as usual.")
    if sum(length is not None for length in lengths) < min(2, dimension):
        warnings.append(no_spacing_warning(path))
    return warnings


def no_spacing_warning(path: Path, taken: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> str:
    """What is said of a file without voxel size, for which `taken` mm stand."""
    size = " x ".join(f"{length:.4g}" for length in taken)
    return (
        f"{path.name} does not say how large its voxels are; {size} mm was taken. Sizes in mm and ml are not to be "
        "trusted: save it as .nrrd with its voxel size."
    )


def check_meta_image(path: Path) -> list[str]:
    """The same for a MetaImage file (https://itk.org/Wiki/ITK/MetaIO/Documentation); returns warnings."""
    with path.open("rb") as stream:
        fields = _meta_fields(stream)
        where = fields.get("elementdatafile", "")
        sizes = _numbers(fields.get("dimsize", ""), int, path, "DimSize")
        kind = fields.get("elementtype", "").upper().removeprefix("MET_").removesuffix("_ARRAY")
        if not where or not sizes or min(sizes) <= 0 or kind not in _META_BYTES:
            raise BadInputError(f"{path} is damaged: its header lacks the size, the type or the data's place.", _COPY)
        channels = _whole(fields.get("elementnumberofchannels", "1")) or 1
        expected = math.prod(sizes) * _META_BYTES[kind] * channels
        packed = fields.get("compresseddata", "").lower() == "true"
        try:
            if where.upper() == "LOCAL":
                _check_meta_stream(path, stream, expected, packed)
            elif not where.upper().startswith("LIST") and "%" not in where:
                with _beside(path, where).open("rb") as data:
                    _check_meta_stream(path, data, expected, packed)
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(path) from error
    spacing = fields.get("elementspacing", fields.get("elementsize", ""))
    _check_spacing(path, _numbers(spacing, float, path, "spacing"))
    for name in ("offset", "position", "origin", "transformmatrix", "rotation", "orientation"):
        if not all(map(math.isfinite, _numbers(fields.get(name, ""), float, path, name))):
            raise BadInputError(f"The {name} of {path} is {fields[name]}: it lies nowhere.", "Correct its header.")
    return [] if spacing else [no_spacing_warning(path)]


def _check_meta_stream(path: Path, stream: BinaryIO, expected: int, packed: bool) -> None:
    left = _left(stream)
    if expected > left * (MOST_EXPANSION if packed else 1):
        raise _damaged(path)
    if packed:
        _verify_zlib(stream)


def _nrrd_fields(stream: BinaryIO) -> dict[str, str]:
    """The header's fields by their names in lower case, up to the empty line; key/value pairs are left out."""
    fields: dict[str, str] = {}
    for _ in range(_MOST_HEADER_LINES):
        line = stream.readline(_CHUNK).rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if not line:
            break
        key, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields


def _meta_fields(stream: BinaryIO) -> dict[str, str]:
    """The header's fields by their names in lower case, up to ElementDataFile, the last before the data."""
    fields: dict[str, str] = {}
    for _ in range(_MOST_HEADER_LINES):
        line = stream.readline(_CHUNK)
        if not line or "elementdatafile" in fields:
            break
        key, _, value = line.decode("utf-8", "surrogateescape").partition("=")
        fields[key.strip().lower()] = value.strip()
        if "elementdatafile" in fields:
            break
    return fields


def _numbers(text: str, convert: type[Number], path: Path, what: str) -> list[Number]:
    try:
        return [convert(part) for part in re.split(r"[\s,]+", text.strip(" ()")) if part]
    except ValueError as error:
        raise BadInputError(f"{path} is damaged: its {what} is {text!r}.", _COPY) from error


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}", text.strip()) else None


def _check_spacing(path: Path, spacing: list[float]) -> None:
    if not all(math.isfinite(length) and length > 0 for length in spacing):
        refuse_spacing(path, spacing)


def refuse_spacing(path: Path, spacing: list[float]) -> NoReturn:
    """Raise the BadInputError for a voxel size that is 0, negative, infinite or no number."""
    shown = ", ".join(f"{length:g}" for length in spacing)
    raise BadInputError(
        f"The spacing of {path} is {shown}, so that its voxels have no size.",
        "Correct it in the file's header, or in 3D Slicer: module Volumes, Volume Information, Image Spacing.",
    )


def _beside(path: Path, name: str) -> Path:
    """The data file that a header names; raises BadInputError where it is missing."""
    data = path.parent / name
    if not data.is_file():
        raise BadInputError(
            f"{path} is a header only; its data file {name} is not there.", f"Copy it too, to {data.parent}."
        )
    return data


def _left(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return end - here


def gunzipped_length(stream: BinaryIO) -> int:
    """Bytes that the rest of a stream decompresses to; raises OSError, EOFError or zlib.error where it is damaged."""
    with gzip.GzipFile(fileobj=stream) as content:
        return drain(content)


def drain(content: BinaryIO | gzip.GzipFile) -> int:
    """Read to the end, which verifies a gzip file's checksum, and return the bytes; what follows it is passed over."""
    total, buffer = 0, bytearray(_CHUNK)
    try:
        while count := content.readinto(buffer):  # type: ignore[union-attr]
            total += count
    except gzip.BadGzipFile as error:
        if not (total or content.tell()) or "Not a gzipped file" not in str(error):
            raise
    return total


def _verify_zlib(stream: BinaryIO) -> None:
    decompressor = zlib.decompressobj()
    pending = b""
    while not decompressor.eof:
        pending = pending or stream.read(_CHUNK)
        if not pending:
            raise EOFError("the data end too early")
        decompressor.decompress(pending, _CHUNK)
        pending = decompressor.unconsumed_tail


def _damaged(path: Path) -> BadInputError:
    return BadInputError(f"{path} is damaged or truncated.", _COPY)
