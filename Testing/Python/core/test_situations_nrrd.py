"""One situation a row: what a NRRD or MetaImage header can say, and the right result or the refusal in one line."""

import bz2
import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.conftest import check_refused

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import read_volume

RAMP = np.arange(315).reshape(5, 7, 9)
LPS = np.array([[1.5, 0, 0, -20], [0, 0.5, 0, 30], [0, 0, 4, -40]])
"""From (i, j, k, 1) to mm, as all files here say it in their own way."""
BASE = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "9 7 5",
    "space directions": "(1.5,0,0) (0,0.5,0) (0,0,4)",
    "space origin": "(-20,30,-40)",
    "endian": "little",
    "encoding": "raw",
}
Fields = Mapping[str, str | None]


def nrrd_header(fields: Fields, magic: str = "NRRD0004", end: str = "\n") -> bytes:
    """The base with some fields changed; those that are None are left out."""
    first = {key: value for key, value in fields.items() if key == "space dimension"}
    lines = [f"{key}: {value}" for key, value in {**first, **BASE, **fields}.items() if value is not None]
    return end.join([magic, *lines, "", ""]).encode("utf-8", "surrogateescape")


def nrrd(path: Path, data: bytes | None = None, magic: str = "NRRD0004", end: str = "\n", **fields: str | None) -> Path:
    """A NRRD file; underscores in names stand for spaces."""
    named = {name.replace("_", " "): value for name, value in fields.items()}
    path.write_bytes(nrrd_header(named, magic, end) + (RAMP.astype("<i2").tobytes() if data is None else data))
    return path


def check(path: Path, values: np.ndarray = RAMP, matrix: np.ndarray = LPS, told: str = "") -> None:
    """The voxels and their places are these, and there is a warning with the word or none."""
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, values)
    np.testing.assert_allclose(volume.geometry.index_to_physical()[:3], matrix, atol=1e-6)
    assert told in "".join(volume.warnings) and bool(told) == bool(volume.warnings), volume.warnings


TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "uint8_t": "u1", "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2", "int16": "i2",
    "int16_t": "i2", "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint16": "u2",
    "uint16_t": "u2", "int": "i4", "signed int": "i4", "int32": "i4", "int32_t": "i4", "uint": "u4",
    "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4", "longlong": "i8", "long long": "i8", "int64": "i8",
    "int64_t": "i8", "ulonglong": "u8", "unsigned long long": "u8", "uint64": "u8", "uint64_t": "u8", "float": "f4",
    "double": "f8",
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_every_name_of_a_type(tmp_path: Path, name: str) -> None:
    order = {"f4": "big", "u2": "big", "i4": "big"}.get(TYPES[name], "little")
    data = RAMP.astype((">" if order == "big" else "<") + TYPES[name]).tobytes()
    check(nrrd(tmp_path / "a.nrrd", data, type=name, endian=order), RAMP.astype(TYPES[name]))


def _text(voxels: np.ndarray) -> bytes:
    return " ".join(map(str, voxels.ravel())).encode() + b"\n"


PACKED: dict[str, Callable[[np.ndarray], bytes]] = {
    "raw": lambda voxels: voxels.tobytes(),
    "gzip": lambda voxels: gzip.compress(voxels.tobytes()),
    "gz": lambda voxels: gzip.compress(voxels.tobytes()),
    "ascii": _text,
    "text": _text,
    "txt": _text,
    "hex": lambda voxels: voxels.tobytes().hex().encode(),
}


@pytest.mark.parametrize("name", PACKED)
def test_encodings(tmp_path: Path, name: str) -> None:
    check(nrrd(tmp_path / "a.nrrd", PACKED[name](RAMP.astype("<i2")), encoding=name))


RAW = RAMP.astype("<i2").tobytes()
BEHIND: dict[str, tuple[dict[str, str], bytes]] = {
    "a line": ({"line_skip": "1"}, b"a line\n" + RAW),
    "bytes": ({"byte_skip": "7"}, b"1234567" + RAW),
    "a line and bytes": ({"line_skip": "1", "byte_skip": "2"}, b"a line\nxy" + RAW),
    "bytes of any number": ({"byte_skip": "-1"}, b"whatever" + RAW),
    "packed, from the end": ({"byte_skip": "-1", "encoding": "gzip"}, gzip.compress(RAW)),
    "packed with bytes": ({"byte_skip": "3", "encoding": "gzip"}, gzip.compress(b"abc" + RAW)),
    "a line before packed ones": ({"line_skip": "1", "encoding": "gzip"}, b"a line\n" + gzip.compress(RAW)),
    "a line before numbers": ({"line_skip": "1", "encoding": "ascii"}, b"1 2 3\n" + _text(RAMP)),
    "packed in two parts": ({"encoding": "gzip"}, gzip.compress(RAW[:99]) + gzip.compress(RAW[99:])),
    "more than is needed": ({"encoding": "gzip"}, gzip.compress(RAW + b"more")),
    "bytes behind packed ones": ({"encoding": "gzip"}, gzip.compress(RAW) + b"more"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_voxels_behind_something_else(tmp_path: Path, name: str) -> None:
    fields, data = BEHIND[name]
    check(nrrd(tmp_path / "a.nrrd", data, **fields))


def _flipped(*axes: int) -> np.ndarray:
    return np.diag([-1.0 if axis in axes else 1.0 for axis in range(3)]) @ LPS


SPACES: dict[str, tuple[dict[str, Any], np.ndarray, str]] = {
    "LPS": ({"space": "LPS"}, LPS, ""),
    "left-posterior-superior": ({}, LPS, ""),
    "RAS": ({"space": "RAS"}, _flipped(0, 1), ""),
    "right-anterior-superior": ({"space": "right-anterior-superior"}, _flipped(0, 1), ""),
    "LAS": ({"space": "LAS"}, _flipped(1), ""),
    "left-anterior-superior": ({"space": "left-anterior-superior"}, _flipped(1), ""),
    "no such name": ({"space": None, "space_dimension": "3"}, LPS, ""),
    "left-handed": (
        {"space_directions": "(-1.5,0,0) (0,0.5,0) (0,0,4)"},
        np.array([[-1.5, 0, 0, -20], *LPS[1:].tolist()]),
        "",
    ),
    "permuted": (
        {"space_directions": "(0,0,1.5) (0.5,0,0) (0,4,0)"},
        np.array([[0, 0.5, 0, -20], [0, 0, 4, 30], [1.5, 0, 0, -40]]),
        "",
    ),
    "exponents and blanks": ({"space_directions": "( 15e-1, 0.0 ,0) (0,5.0E-1,0)  (0,0,4.)"}, LPS, ""),
    "spacings alone": (
        {"space": None, "space_directions": None, "space_origin": None, "spacings": "1.5 0.5 4"},
        np.diag([1.5, 0.5, 4.0, 0])[:3],
        "",
    ),
    "nothing": (
        {"space": None, "space_directions": None, "space_origin": None},
        np.eye(4)[:3],
        "how large its voxels are",
    ),
    "no voxel size along k": (
        {"space": None, "space_directions": None, "space_origin": None, "spacings": "1.5 0.5 nan"},
        np.diag([1.5, 0.5, 1.0, 0])[:3],
        "1.5 x 0.5 x 1 mm was taken",
    ),
    "no origin": ({"space_origin": None}, LPS * [1, 1, 1, 0], ""),
    "a scanner's own space": ({"space": "scanner-xyz"}, LPS, ""),
    "names in capitals": ({"space": "Left-Posterior-Superior"}, LPS, ""),
    "slanted": (
        {"space_directions": "(1.5,0,0) (0,0.5,0) (0,0.2,4)"},
        np.array([LPS[0].tolist(), [0, 0.5, 0.2, 30], LPS[2].tolist()]),
        "",
    ),
    "units of mm": ({"space_units": '"mm" "mm" "mm"'}, LPS, ""),
    "units of cm": ({"space_units": '"cm" "cm" "cm"'}, LPS, "in cm"),
    "units in Latin 1": ({"space_units": '"\udcb5m" "\udcb5m" "\udcb5m"'}, LPS, "in ?m"),
    "kinds of domains": ({"kinds": "domain domain domain"}, LPS, ""),
    "kinds of spaces": ({"kinds": "space space space"}, LPS, ""),
    "cells": ({"centerings": "cell cell cell"}, LPS, ""),
    "a frame of measurement": ({"measurement_frame": "(1,0,0) (0,1,0) (0,0,1)"}, LPS, ""),
    "lines that end as on Windows": ({"end": "\r\n"}, LPS, ""),
    "version 1": ({"magic": "NRRD0001", "space": None, "space_directions": None, "space_origin": None,
                   "spacings": "1.5 0.5 4"}, np.diag([1.5, 0.5, 4.0, 0])[:3], ""),
    "version 5": ({"magic": "NRRD0005"}, LPS, ""),
    "comments and keys": ({"end": "\n# a comment\nkey:=value\n", "magic": "NRRD0005"}, LPS, ""),
    "old names": ({"min": None, "content": "a word"}, LPS, ""),
    "a list of one": (
        {"dimension": "4", "sizes": "1 9 7 5", "kinds": "list domain domain domain",
         "space_directions": "none (1.5,0,0) (0,0.5,0) (0,0,4)"},
        LPS,
        "",
    ),
    "one volume at the end": (
        {"dimension": "4", "sizes": "9 7 5 1", "kinds": "domain domain domain list",
         "space_directions": "(1.5,0,0) (0,0.5,0) (0,0,4) none"},
        LPS,
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_spaces(tmp_path: Path, name: str) -> None:
    fields, matrix, told = SPACES[name]
    if name == "comments and keys":
        content = nrrd_header({}, "NRRD0005").replace(b"\nendian", b"\n# a comment\nkey:=value: of more\nendian")
        (tmp_path / "a.nrrd").write_bytes(content + RAMP.astype("<i2").tobytes())
        check(tmp_path / "a.nrrd")
    else:
        check(nrrd(tmp_path / "a.nrrd", **fields), matrix=matrix, told=told)


def _parts(folder: Path, name: str) -> list[str]:
    """The slices in files of their own."""
    for number, plane in enumerate(RAMP.astype("<i2")):
        (folder / (name % number)).write_bytes(plane.tobytes())
    return [name % number for number in range(len(RAMP))]


APART: dict[str, tuple[str, bytes, dict[str, str | None]]] = {
    "relative": ("v.raw", b"", {"data_file": "v.raw"}),
    "old name of the field": ("v.raw", b"", {"datafile": "v.raw"}),
    "in a folder": ("sub dir/v.raw", b"", {"data_file": "sub dir/v.raw"}),
    "absolute": ("sub dir/v.raw", b"", {"data_file": "{folder}/sub dir/v.raw"}),
    "packed": ("v.raw.gz", b"", {"data_file": "v.raw.gz", "encoding": "gzip"}),
    "lines to skip": ("v.raw", b"a line\nanother\n", {"data_file": "v.raw", "line_skip": "2"}),
    "bytes to skip": ("v.raw", b"12345", {"data_file": "v.raw", "byte_skip": "5"}),
    "from the end": ("v.raw", b"a header of any length", {"data_file": "v.raw", "byte_skip": "-1"}),
    "a list": ("", b"", {"data_file": "LIST 2"}),
    "a pattern": ("", b"", {"data_file": "s%02d.raw 0 4 1 2"}),
}
"""The file of the data, what comes before them in it, and the header's fields; no file: one for each slice."""


@pytest.mark.parametrize("name", APART)
def test_data_in_files_of_their_own(tmp_path: Path, name: str) -> None:
    file, before, fields = APART[name]
    data = RAMP.astype("<i2").tobytes()
    (tmp_path / "sub dir").mkdir()
    if file:
        (tmp_path / file).write_bytes(before + (gzip.compress(data) if name == "packed" else data))
    parts = [] if file else _parts(tmp_path, "s%02d.raw")
    given = {key: value and value.format(folder=tmp_path) for key, value in fields.items()}
    header = nrrd(tmp_path / "v.nhdr", b"", **given)
    if name == "a list":  # the names end the header
        header.write_bytes(header.read_bytes().rstrip(b"\n") + "\n".join(["", *parts, ""]).encode())
    check(header)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a type that is none": ({"type": "quad"}, "type 'quad'"),
    "a block": ({"type": "block"}, "type 'block'"),
    "sizes that are too few": ({"sizes": "9 7"}, "sizes"),
    "a size of 0": ({"sizes": "9 0 5"}, "sizes"),
    "a size that is no number": ({"sizes": "9 x 5"}, "sizes"),
    "cut off": ({"data": b"\0" * 100}, "truncated"),
    "gzip that is none": ({"encoding": "gzip"}, "damaged"),
    "a direction of 0": ({"space_directions": "(0,0,0) (0,0.5,0) (0,0,4)"}, "spacing"),
    "a spacing of 0": ({"space": None, "space_directions": None, "spacings": "0 1 1", "space_origin": None}, "spacing"),
    "an origin that is none": ({"space_origin": "(nan,0,0)"}, "lies nowhere"),
    "slices that are sheared, and flat": ({"space_directions": "(1.5,0,0) (1.5,0,0) (0,0,4)"}, "flat|cannot be read"),
    "time points": ({"dimension": "4", "sizes": "9 7 5 2", "kinds": "domain domain domain time",
                     "space_directions": "(1.5,0,0) (0,0.5,0) (0,0,4) none", "data": b"\1\0" * 315 + b"\2\0" * 315},
                    "4D"),
    "a file of data that is missing": ({"data_file": "gone.raw", "data": b""}, "gone.raw is not there"),
    "packed with bzip2": ({"encoding": "bzip2", "data": bz2.compress(RAMP.astype("<i2").tobytes())}, "bzip2"),
    "text that is too short": ({"encoding": "text", "data": b"1 2 3"}, "cannot be read|truncated"),
    "numbered files, one of them missing": ({"data_file": "s%02d.raw 0 4 1 2", "data": b""}, "s00.raw is not there"),
    "an encoding that is none": ({"encoding": "zrle"}, "cannot be read"),
    "numbers with commas between them": ({"encoding": "ascii", "data": _text(RAMP).replace(b" ", b",")}, "damaged"),
    "words for numbers": ({"encoding": "ascii", "data": b"liver " * 400}, "couldn't parse element 1"),
    "no byte order": ({"endian": None}, "require endian info"),
    "a space of no name": ({"space": "LPI"}, "couldn't parse space"),
    "a space with time": ({"space": "RAST"}, "space dimension is 4"),
    "a field that is there twice": ({"encoding": "raw\nsizes: 9 7 5"}, "already set field sizes"),
    "time points first": ({"dimension": "4", "sizes": "2 9 7 5", "kinds": "time domain domain domain",
                           "space_directions": "none (1.5,0,0) (0,0.5,0) (0,0,4)", "data": RAW * 2}, "4D"),
    **{
        f"three numbers a voxel, {kind}": (
            {"type": "uchar", "dimension": "4", "sizes": "3 9 7 5", "kinds": f"{kind} domain domain domain",
             "space_directions": "none (1.5,0,0) (0,0.5,0) (0,0,4)", "data": bytes(range(252)) * 4},
            "3 values of type uint8",
        )
        for kind in ("HSV-color", "XYZ-color", "3-normal", "covariant-vector", "point")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_refusals(tmp_path: Path, name: str) -> None:
    fields, word = WRONG[name]
    check_refused(nrrd(tmp_path / "a.nrrd", **fields), word)


META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-20 30 -40",
    "ElementSpacing": "1.5 0.5 4",
    "DimSize": "9 7 5",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def meta(path: Path, data: bytes | None = None, **fields: str | None) -> Path:
    """A MetaImage file with some fields changed, and those left out that are None; the data's place comes last."""
    where = fields.pop("ElementDataFile", "LOCAL")
    merged = {key: value for key, value in {**META, **fields}.items() if value is not None and key != "ElementDataFile"}
    text = "".join(f"{key} = {value}\n" for key, value in merged.items()) + f"ElementDataFile = {where}\n"
    path.write_bytes(text.encode() + (RAMP.astype("<i2").tobytes() if data is None else data))
    return path


META_TYPES = {"CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4"}
META_TYPES |= {"ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8"}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", META_TYPES)
def test_types_of_meta_image(tmp_path: Path, name: str, packed: bool) -> None:
    order = ">" if META_TYPES[name] in ("u2", "f4", "i4") else "<"
    fields = {"ElementType": f"MET_{name}", "BinaryDataByteOrderMSB": str(order == ">")}
    data = RAMP.astype(order + META_TYPES[name]).tobytes()
    if packed:
        data = zlib.compress(data)
        fields |= {"CompressedData": "True", "CompressedDataSize": str(len(data))}
    check(meta(tmp_path / "a.mha", data, **fields), RAMP.astype(META_TYPES[name]))


TURNED = np.array([[0, 0, 4, -20], [1.5, 0, 0, 30], [0, 0.5, 0, -40]])
ZLIB = zlib.compress(RAW)
META_PLACES: dict[str, tuple[dict[str, Any], np.ndarray, str]] = {
    "as ITK writes it": ({}, LPS, ""),
    "the size of an element alone": ({"ElementSpacing": None, "ElementSize": "1.5 0.5 4"}, LPS, ""),
    "spacing before the size of an element": ({"ElementSize": "1 1 1"}, LPS, ""),
    "Position": ({"Offset": None, "Position": "-20 30 -40"}, LPS, ""),
    "Origin": ({"Offset": None, "Origin": "-20 30 -40"}, LPS, ""),
    "Rotation": ({"TransformMatrix": None, "Rotation": "0 1 0 0 0 1 1 0 0"}, TURNED, ""),
    "Orientation": ({"TransformMatrix": None, "Orientation": "0 1 0 0 0 1 1 0 0"}, TURNED, ""),
    "axes are rows": ({"TransformMatrix": "0 1 0 0 0 1 1 0 0"}, TURNED, ""),
    "no matrix": ({"TransformMatrix": None}, LPS, ""),
    "an orientation in letters": ({"AnatomicalOrientation": "RAI"}, LPS, ""),
    "a centre of rotation": ({"CenterOfRotation": "0 0 0"}, LPS, ""),
    "a comment": ({"Comment": "made by hand"}, LPS, ""),
    "packed by another word": ({"CompressedData": "1", "CompressedDataSize": str(len(ZLIB)), "data": ZLIB}, LPS, ""),
    "neither": ({"ElementSpacing": None}, np.array([[1, 0, 0, -20], [0, 1, 0, 30], [0, 0, 1, -40]]), "how large"),
    "byte order by its short name": ({"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "False"}, LPS, ""),
}


@pytest.mark.parametrize("name", META_PLACES)
def test_places_of_meta_image(tmp_path: Path, name: str) -> None:
    fields, matrix, told = META_PLACES[name]
    check(meta(tmp_path / "a.mha", **fields), matrix=matrix, told=told)


def test_colons_of_meta_image_count_as_well(tmp_path: Path) -> None:
    """For ITK, too; what a header says with them was not checked."""
    path = meta(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b" = ", b": "))
    check(path)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing: 1.5", b"ElementSpacing: 0"))
    check_refused(path, "spacing")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_packed_data_of_meta_image(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """ITK takes memory as it is for the voxels where the header does not say how long they are packed."""
    data, fields = pack(RAW), {"CompressedData": "True"}
    stated = {**fields, "CompressedDataSize": str(len(data))}
    check(meta(tmp_path / "a.mha", data, **stated))
    check(meta(tmp_path / "b.mha", data + b"more", **stated))
    with pytest.raises(BadInputError, match=f"Add the line CompressedDataSize = {len(data)} "):
        read_volume(meta(tmp_path / "c.mha", data, **fields))
    (tmp_path / "v.zraw").write_bytes(data)
    check(meta(tmp_path / "d.mhd", b"", ElementDataFile="v.zraw", **fields))
    (tmp_path / "v.zraw").write_bytes(data + b"more")
    check(meta(tmp_path / "d.mhd", b"", ElementDataFile="v.zraw", **stated))
    with pytest.raises(BadInputError, match="damaged"):
        read_volume(meta(tmp_path / "d.mhd", b"", ElementDataFile="v.zraw", **fields))


@pytest.mark.parametrize("name", ["relative", "in a folder", "packed", "list", "pattern", "header before it", "text"])
def test_data_of_meta_image_elsewhere(tmp_path: Path, name: str) -> None:
    data, fields = RAW, {}
    (tmp_path / "sub").mkdir()
    if name == "list":
        rest = "\n".join(_parts(tmp_path, "s%d.raw")).encode()
        check(meta(tmp_path / "a.mhd", rest, ElementDataFile="LIST"))
        return
    if name == "pattern":
        _parts(tmp_path, "s%02d.raw")
        check(meta(tmp_path / "a.mhd", b"", ElementDataFile="s%02d.raw 0 4 1"))
        return
    if name == "text":
        check(meta(tmp_path / "a.mha", _text(RAMP), BinaryData="False"))
        return
    if name == "packed":
        data, fields = zlib.compress(data), {"CompressedData": "True"}
    if name == "header before it":
        data, fields = b"0123456789" + data, {"HeaderSize": "10"}
    where = "sub/v.raw" if name == "in a folder" else "v.raw"
    (tmp_path / where).write_bytes(data)
    check(meta(tmp_path / "a.mhd", b"", ElementDataFile=where, **fields))


META_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "sizes that are too few": ({"DimSize": "9 7"}, "dimensions"),
    "a type that is none": ({"ElementType": "MET_QUAD"}, "lacks"),
    "a size of 0": ({"DimSize": "9 0 5"}, "lacks"),
    "a spacing of 0": ({"ElementSpacing": "0 1 1"}, "spacing"),
    "a spacing below 0": ({"ElementSpacing": "-1 1 1"}, "spacing"),
    "an offset that is none": ({"Offset": "nan 0 0"}, "lies nowhere"),
    "a matrix of zeros": ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "flat|cannot be read"),
    "cut off": ({"data": b"\0" * 99}, "truncated"),
    "packed data that are none": ({"CompressedData": "True"}, "damaged"),
    "a file of data that is missing": ({"ElementDataFile": "gone.raw", "data": b""}, "gone.raw"),
    "a list with a file that is missing": ({"ElementDataFile": "LIST", "data": b"s0.raw\ns1.raw\n"}, "s0.raw is not"),
    "a list that is too short": ({"ElementDataFile": "LIST", "data": b"a.mha\n" * 4}, "lists 4 files of data, not 5"),
    "numbered files that are missing": ({"ElementDataFile": "s%03d.raw 1 5 1", "data": b""}, "s001.raw is not there"),
    "a list of a whole volume": ({"ElementDataFile": "LIST 3", "data": b"a.mha\n"}, "whole volumes"),
    "values that are scaled": ({"ElementToIntensityFunctionSlope": "2"}, "scales its values"),
    "values that are shifted": ({"ElementToIntensityFunctionOffset": "-1024"}, "scales its values"),
    "bytes to skip in its own file": ({"HeaderSize": "4", "data": b"1234" + RAW}, "HeaderSize"),
    "commas between numbers": ({"ElementSpacing": "1.5,0.5,4"}, "elementspacing is '1.5,0.5,4'"),
    "commas in numbers": ({"ElementSpacing": "1,5 0,5 4,0"}, "elementspacing is '1,5 0,5 4,0'"),
    "an offset of two numbers": ({"Offset": "-20 30"}, "offset has 2 numbers"),
    "a spacing of two numbers": ({"ElementSpacing": "1.5 0.5"}, "elementspacing has 2 numbers"),
    "a matrix of four numbers": ({"TransformMatrix": "1 0 0 1"}, "transformmatrix has 4 numbers"),
    "packed data longer than it says": (
        {"CompressedData": "True", "CompressedDataSize": "20", "data": zlib.compress(RAMP.astype("<i2").tobytes())},
        "damaged",
    ),
    "packed data of fewer voxels": (
        {"CompressedData": "True", "data": zlib.compress(RAMP[:4].astype("<i2").tobytes())},
        "damaged",
    ),
    "two time points": ({"NDims": "4", "DimSize": "9 7 5 2", "ElementSpacing": "1 1 1 1", "Offset": "0 0 0 0",
                         "TransformMatrix": None, "data": b"\1\0" * 630}, "4D"),
}  # fmt: skip


@pytest.mark.parametrize("name", META_WRONG)
def test_refusals_of_meta_image(tmp_path: Path, name: str) -> None:
    fields, word = META_WRONG[name]
    check_refused(meta(tmp_path / "a.mha", **fields), word)
