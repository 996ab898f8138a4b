"""Checks NRRD and MetaImage files and their text headers before SimpleITK reads them: for what is missing or invalid.

SimpleITK reports all of that as one failure, does not verify the checksum of compressed data, assumes 1 mm for a
missing voxel size, and allocates as much memory as a damaged header says.
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import compound_suffix
from FewShotSAMLib.core.stored import check_memory, check_spacing, no_spacing_warning, too_many_dimensions

Number = TypeVar("Number", int, float)
_CHUNK = 1 << 20
_MOST_HEADER_LINES = 20_000
_MOST_HEADER = 16 << 20
_LONGEST_FIELD = 2000
"""Bytes. ITK's readers access memory out of bounds for longer lines, and for more dimensions than these."""
_MOST_DIMENSIONS = 10
_TEXTS, _LONGEST_NUMBER = ("ascii", "text", "txt"), 100
"""Characters. Teem overflows its buffer with longer ones, such as numbers with commas between them."""
_MOST_FILES = 100_000
MOST_EXPANSION = 1032
"""How much longer than its packed form data can be; the limit of the deflate format."""
_NRRD_BYTES = {
    name: size
    for size, names in (
        (1, "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t"),
        (2, "short, short int, signed short, signed short int, int16, int16_t"),
        (2, "ushort, unsigned short, unsigned short int, uint16, uint16_t"),
        (4, "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float"),
        (8, "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, double"),
        (8, "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t"),
    )
    for name in names.split(", ")
}
_IN_SPACE = ("domain", "space", "???", "none")
"""Kinds of axes along which voxels have a size."""
_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4, "FLOAT": 4}
_MATRICES = ("transformmatrix", "rotation", "orientation")
_META_BYTES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}
_ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9"}
"""The last bytes of pictures."""
_NIFTI_HEAD = 352
_ZLIB_OR_GZIP = 47
COPY_AGAIN = "Copy, download or export it again."


def check_nrrd(path: Path) -> list[str]:
    """Raise BadInputError for a NRRD file that is cut off, damaged, or without a valid grid; returns warnings.

    Format: http://teem.sourceforge.net/nrrd/format.html.
    """
    with path.open("rb") as stream:
        fields = _nrrd_fields(stream, path)
        sizes = _numbers(fields.get("sizes", ""), int, path, "sizes")
        kind = fields.get("type", "").lower()
        if kind not in _NRRD_BYTES:
            raise _damaged(path, f"it holds voxels of type {kind!r}, which does not exist")
        if len(sizes) != _whole(fields.get("dimension", "")) or min(sizes, default=0) <= 0:
            raise _damaged(path, f"its sizes are {fields.get('sizes', 'not given')}")
        expected = check_memory(path, math.prod(sizes) * _NRRD_BYTES[kind])
        detached = fields.get("data file", fields.get("datafile", ""))
        encoding = fields.get("encoding", "").lower()
        if encoding in ("bzip2", "bz2"):
            raise BadInputError(
                f"The voxels in {path} are packed with bzip2, which 3D Slicer does not read either.",
                "Save it with gzip, for example by pynrrd: nrrd.write(name, *nrrd.read(FILE)).",
            )
        is_last = fields.get("space directions", "").endswith("none") and sizes[-1] > 1
        if len(sizes) > 3 and (is_last or "time" in fields.get("kinds", "")):
            raise too_many_dimensions(path, sizes)
        simple = not any(name in fields for name in ("line skip", "lineskip", "byte skip", "byteskip"))
        try:
            _check_nrrd_data(path, stream, detached, encoding, expected, simple)
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(path) from error
    return _check_nrrd_grid(path, fields, sizes)


def _check_nrrd_data(path: Path, stream: BinaryIO, detached: str, encoding: str, expected: int, simple: bool) -> None:
    if len(files := data_file_of(path, is_nrrd=True)) > 2:
        _check_total(path, files[1:], expected if encoding == "raw" else 0)
    elif detached:
        with files[-1].open("rb") as data:
            _check_nrrd_stream(path, data, encoding, expected, simple)
    else:
        _check_nrrd_stream(path, stream, encoding, expected, simple)


def _check_nrrd_stream(path: Path, stream: BinaryIO, encoding: str, expected: int, simple: bool) -> None:
    if (
        expected > _left(stream) * (1 if encoding == "raw" else MOST_EXPANSION)
        or (encoding in ("gzip", "gz") and simple and gunzipped_length(stream) < expected)
        or (encoding in _TEXTS and re.search(rb"\S{%d}" % _LONGEST_NUMBER, stream.read()))
    ):
        raise _damaged(path)


def check_written(path: Path, length: int = 0) -> None:
    """Raise BadInputError if a file that SimpleITK wrote is incomplete: it ignores the error of a full disk when it
    closes a file. length: of the voxels, in bytes."""
    suffix = compound_suffix(path)
    if suffix in (".nrrd", ".nhdr"):
        check_nrrd(path)
    elif suffix in (".mha", ".mhd"):
        check_meta_image(path)
    else:
        try:
            with path.open("rb") as stream:
                if end := _ENDS.get(suffix):
                    stream.seek(-len(end), 2)
                    is_whole = stream.read() == end
                else:
                    unpacked = gunzipped_length(stream) if suffix.endswith(".gz") else _left(stream)
                    is_whole = unpacked >= length + _NIFTI_HEAD
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(path) from error
        if not is_whole:
            raise _damaged(path)


def data_file_of(path: Path, is_nrrd: bool) -> tuple[Path, ...]:
    """A NRRD or MetaImage file and its separate data files, if it has any: one, a list, or numbered ones."""
    with path.open("rb") as stream:
        fields = _nrrd_fields(stream, path) if is_nrrd else _meta_fields(stream, path)
        name = fields.get("data file", fields.get("datafile", "")) if is_nrrd else fields.get("elementdatafile", "")
        if re.match(r"LIST\b", name, re.IGNORECASE):
            if is_nrrd:
                stream.seek(0)
            names = stream.read(_MOST_HEADER).decode("utf-8", "surrogateescape").splitlines()
            if is_nrrd:
                names = names[1 + next(n for n, line in enumerate(names) if re.match(r"data ?file: ", line)) :]
            return (path, *(_data_file(path, each.strip()) for each in names if each.strip()))
    if numbered := re.fullmatch(r"([^%]*%0?\d*[diu][^%]*?)((?:\s+-?\d+){3,4})", name):
        first, last, step = (int(number) for number in numbered[2].split()[:3])
        numbers = range(first, last + (1 if step > 0 else -1), step or 1)[:_MOST_FILES]
        return (path, *(_data_file(path, numbered[1] % number) for number in numbers))
    if "%" in name:
        raise BadInputError(
            f"{path} names its data files by a pattern, {name[:80]!r}, which is not understood.",
            "If it is one file, rename it without the percent sign, here and in the header.",
        )
    is_own = not name or (not is_nrrd and name.upper() == "LOCAL")
    return (path,) if is_own else (path, _data_file(path, name))


def _check_total(path: Path, files: Sequence[Path], expected: int) -> None:
    """Raise BadInputError if the data files together are shorter than expected, in bytes."""
    if sum(file.stat().st_size for file in files) < expected:
        raise _damaged(path)


def _check_nrrd_grid(path: Path, fields: Mapping[str, str], sizes: Sequence[int]) -> list[str]:
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    lengths: list[float | None] = []
    if directions:
        vectors = [[] if text == "none" else _vector(text, path, "space directions") for text in directions]
        lengths = [math.hypot(*vector) if vector else None for vector in vectors]
    elif "spacings" in fields:
        given = _numbers(fields["spacings"], float, path, "spacings")
        lengths = [None if math.isnan(value) else abs(value) for value in given]
    check_spacing(path, [length for length in lengths if length is not None])
    origin = fields.get("space origin", "")
    if origin and not all(map(math.isfinite, _vector(origin, path, "space origin"))):
        raise BadInputError(f"The origin of {path} is {origin}, which is not a position.", "Correct its header.")
    warnings = []
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {"mm", "millimeter", "millimeters", ""}
    if units:
        named = ", ".join(sorted(units)).encode(errors="replace").decode()
        warnings.append(f"{path.name} gives its voxel size in {named}; it was read as mm, as usual.")
    kinds = fields.get("kinds", "").split() or ["domain"] * len(sizes)
    spatial = min(3, sum(kind in _IN_SPACE for kind in kinds))
    if sum(length is not None for length in lengths) < min(spatial, sum(size > 1 for size in sizes)):
        warnings.append(no_spacing_warning(path, [length or 1.0 for length in lengths[:3]] or [1.0] * 3))
    return warnings


def check_meta_image(path: Path) -> list[str]:
    """The same for a MetaImage file (https://itk.org/Wiki/ITK/MetaIO/Documentation); returns warnings."""
    with path.open("rb") as stream:
        fields = _meta_fields(stream, path)
        where = fields.get("elementdatafile", "")
        sizes = _numbers(fields.get("dimsize", ""), int, path, "DimSize")
        kind = fields.get("elementtype", "").upper().removeprefix("MET_").removesuffix("_ARRAY")
        if _whole(fields.get("ndims", "")) != len(sizes) or len(sizes) > _MOST_DIMENSIONS:
            shown = f"{fields.get('ndims', '')[:20]!r} with {len(sizes)} sizes"
            raise _damaged(path, f"its number of dimensions is {shown}")
        if not where or not sizes or min(sizes) <= 0 or kind not in _META_BYTES:
            raise _damaged(path, "its header lacks the size, the type or the data's place")
        channels = _whole(fields.get("elementnumberofchannels", "1")) or 1
        expected = check_memory(path, math.prod(sizes) * _META_BYTES[kind] * channels)
        packed = fields.get("compresseddata", "")[:1] in ("T", "t", "1")
        stated = _whole(fields.get("compresseddatasize", "")) if packed else None
        try:
            if where.upper() == "LOCAL":
                if fields.get("headersize", "0") not in ("0", "-1"):
                    raise BadInputError(
                        f"{path} says that bytes are to be skipped (HeaderSize), but holds the voxels itself.",
                        "Remove that line from its header.",
                    )
                _check_meta_stream(path, stream, expected, packed, stated, is_own=True)
            elif len(files := data_file_of(path, is_nrrd=False)) == 2 and not where.upper().startswith("LIST"):
                with files[1].open("rb") as data:
                    _check_meta_stream(path, data, expected, packed, stated, is_own=False)
            else:
                _check_meta_list(path, where, files[1:], sizes)
                _check_total(path, files[1:], 0 if packed else expected)
        except (EOFError, OSError, zlib.error) as error:
            raise _damaged(path) from error
    scale = [fields.get(f"elementtointensityfunction{name}", "") for name in ("slope", "offset")]
    if any(
        _numbers(text, float, path, "scale") not in ([], [usual]) for text, usual in zip(scale, (1, 0), strict=True)
    ):
        raise BadInputError(
            f"{path} scales its values (ElementToIntensityFunction), which 3D Slicer ignores.",
            "Save it with the scaled values as .nrrd.",
        )
    for name in ("elementspacing", "offset", "position", "origin", "transformmatrix", "rotation", "orientation"):
        numbers = _numbers(fields.get(name, ""), float, path, name)
        if not all(map(math.isfinite, numbers)):
            raise BadInputError(f"The {name} of {path} is {fields[name]}, which is not valid.", "Correct its header.")
        if len(numbers) not in (0, len(sizes) ** (2 if name in _MATRICES else 1)):
            raise _damaged(path, f"its {name} has {len(numbers)} numbers")
    spacing = fields.get("elementspacing", fields.get("elementsize", ""))
    check_spacing(path, _numbers(spacing, float, path, "spacing"))
    return [] if spacing else [no_spacing_warning(path)]


def _check_meta_stream(
    path: Path, stream: BinaryIO, expected: int, packed: bool, stated: int | None, is_own: bool
) -> None:
    """stated: the length of the packed data by the header; SimpleITK reads no more and leaves the rest uninitialised.
    Without it, it leaves all voxels so if they are in the header's own file (is_own), or if other bytes follow them."""
    left = _left(stream)
    if expected > left * (MOST_EXPANSION if packed else 1):
        raise _damaged(path)
    if packed:
        begun = stream.tell()
        length, used = _verify_zlib(stream)
        if length < expected or (left != used - begun if stated is None else begun + stated < used):
            raise _damaged(path)
        if is_own and stated is None:
            raise BadInputError(
                f"{path} does not state the length of its packed voxels, without which other programs misread it.",
                f"Add the line CompressedDataSize = {used - begun} to its header, before ElementDataFile.",
            )


def _check_meta_list(path: Path, where: str, files: Sequence[Path], sizes: Sequence[int]) -> None:
    """Raise BadInputError if a list has fewer files than slices: SimpleITK leaves the others uninitialised."""
    dimensions = _whole(where.upper().removeprefix("LIST").strip().removesuffix("D")) or len(sizes) - 1
    wanted = math.prod(sizes[dimensions:])
    if dimensions >= len(sizes):
        raise BadInputError(f"{path} lists files of whole volumes.", "Name the file itself in ElementDataFile.")
    if len(files) < wanted:
        raise BadInputError(f"{path} lists {len(files)} files of data, not {wanted}.", COPY_AGAIN)


def finished_list(path: Path) -> bytes:
    """A MetaImage header whose list of files lacks the last line break, so that SimpleITK misses the last file, with
    that added and with absolute paths; empty for other headers."""
    with path.open("rb") as stream:
        is_list = _meta_fields(stream, path).get("elementdatafile", "").upper().startswith("LIST")
        length = stream.tell()
        if not is_list or stream.read().endswith(b"\n"):
            return b""
        stream.seek(0)
        names = "".join(f"{file.resolve()}\n" for file in data_file_of(path, is_nrrd=False)[1:])
        return stream.read(length) + names.encode("utf-8", "surrogateescape")


def _nrrd_fields(stream: BinaryIO, path: Path) -> dict[str, str]:
    """The header's fields by their names in lower case, up to the empty line; key/value pairs are left out."""
    fields: dict[str, str] = {}
    for line in _header_lines(stream, path):
        if not line:
            return fields
        key, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            if len(line) > _LONGEST_FIELD and key.lower() != "content":
                raise _damaged(path, f"the field {key[:20]!r} of its header is too long")
            fields[key.strip().lower()] = value.strip()
    return fields


def _meta_fields(stream: BinaryIO, path: Path) -> dict[str, str]:
    """The header's fields by their names in lower case, up to ElementDataFile, the last before the data."""
    fields: dict[str, str] = {}
    for line in _header_lines(stream, path):
        key, *value = re.split("[=:]", line, maxsplit=1)
        fields[key.strip().lower()] = "".join(value).strip()
        if "elementdatafile" in fields:
            break
    return fields


def _header_lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The lines of a header, without line breaks. Raises BadInputError if the header does not end."""
    total = 0
    for _ in range(_MOST_HEADER_LINES):
        line = stream.readline(_CHUNK)
        total += len(line)
        if not line:
            return
        if total > _MOST_HEADER or len(line) == _CHUNK:
            break
        yield line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    raise _damaged(path, "its header does not end")


def _numbers(text: str, convert: type[Number], path: Path, what: str) -> list[Number]:
    try:
        return [convert(part) for part in text.split()]
    except ValueError as error:
        raise _damaged(path, f"its {what} is {text!r}") from error


def _vector(text: str, path: Path, what: str) -> list[float]:
    return _numbers(text.strip(" ()").replace(",", " "), float, path, what)


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}", text.strip()) else None


def _data_file(path: Path, name: str) -> Path:
    """The data file that a header names; raises BadInputError if it is missing."""
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
    """Bytes that the rest of a stream decompresses to; raises OSError, EOFError or zlib.error if it is damaged."""
    with gzip.GzipFile(fileobj=stream) as content:
        return read_to_end(content)


def read_to_end(content: gzip.GzipFile) -> int:
    """Read to the end, which verifies the checksum, and return the number of bytes; what follows is ignored."""
    total = 0
    try:
        while chunk := content.read1(_CHUNK):  # only read1 returns what comes before such an end
            total += len(chunk)
    except gzip.BadGzipFile as error:
        if not (total or content.tell()) or "Not a gzipped file" not in str(error):
            raise
    return total


def _verify_zlib(stream: BinaryIO) -> tuple[int, int]:
    """Unpack to the end, which verifies the checksum; returns the unpacked length and the end in the stream."""
    decompressor = zlib.decompressobj(_ZLIB_OR_GZIP)
    pending, length = b"", 0
    while not decompressor.eof:
        pending = pending or stream.read(_CHUNK)
        if not pending:
            raise EOFError("the data end too early")
        length += len(decompressor.decompress(pending, _CHUNK))
        pending = decompressor.unconsumed_tail
    return length, stream.tell() - len(pending) - len(decompressor.unused_data)


def _damaged(path: Path, why: str = "") -> BadInputError:
    return BadInputError(f"{path} is damaged{f': {why}' if why else ' or truncated'}.", COPY_AGAIN)
