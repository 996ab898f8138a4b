"""One situation per row: what an NRRD header can say, and the right result or a refusal in one line."""

import bz2
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.conftest import check_refused
from core.ramps import LPS, RAMP, RAW, as_text, check, in_parts

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
    """An NRRD file; underscores in names stand for spaces."""
    named = {name.replace("_", " "): value for name, value in fields.items()}
    path.write_bytes(nrrd_header(named, magic, end) + (RAW if data is None else data))
    return path


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


PACKED: dict[str, Callable[[np.ndarray], bytes]] = {
    "raw": lambda voxels: voxels.tobytes(),
    "gzip": lambda voxels: gzip.compress(voxels.tobytes()),
    "gz": lambda voxels: gzip.compress(voxels.tobytes()),
    "ascii": as_text,
    "text": as_text,
    "txt": as_text,
    "hex": lambda voxels: voxels.tobytes().hex().encode(),
}


@pytest.mark.parametrize("name", PACKED)
def test_encodings(tmp_path: Path, name: str) -> None:
    check(nrrd(tmp_path / "a.nrrd", PACKED[name](RAMP.astype("<i2")), encoding=name))


BEHIND: dict[str, tuple[dict[str, str], bytes]] = {
    "a line": ({"line_skip": "1"}, b"a line\n" + RAW),
    "bytes": ({"byte_skip": "7"}, b"1234567" + RAW),
    "a line and bytes": ({"line_skip": "1", "byte_skip": "2"}, b"a line\nxy" + RAW),
    "bytes of any number": ({"byte_skip": "-1"}, b"whatever" + RAW),
    "packed, from the end": ({"byte_skip": "-1", "encoding": "gzip"}, gzip.compress(RAW)),
    "packed with bytes": ({"byte_skip": "3", "encoding": "gzip"}, gzip.compress(b"abc" + RAW)),
    "a line before packed ones": ({"line_skip": "1", "encoding": "gzip"}, b"a line\n" + gzip.compress(RAW)),
    "a line before numbers": ({"line_skip": "1", "encoding": "ascii"}, b"1 2 3\n" + as_text(RAMP)),
    "packed in two parts": ({"encoding": "gzip"}, gzip.compress(RAW[:99]) + gzip.compress(RAW[99:])),
    "more than is needed": ({"encoding": "gzip"}, gzip.compress(RAW + b"more")),
    "bytes behind packed ones": ({"encoding": "gzip"}, gzip.compress(RAW) + b"more"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_voxels_behind_something_else(tmp_path: Path, name: str) -> None:
    fields, data = BEHIND[name]
    check(nrrd(tmp_path / "a.nrrd", data, **fields))


NOWHERE: dict[str, Any] = {"space": None, "space_directions": None, "space_origin": None}


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
    "left-handed": ({"space_directions": "(-1.5,0,0) (0,0.5,0) (0,0,4)"}, LPS * [[-1, 1, 1, 1], [1] * 4, [1] * 4], ""),
    "permuted": (
        {"space_directions": "(0,0,1.5) (0.5,0,0) (0,4,0)"},
        np.array([[0, 0.5, 0, -20], [0, 0, 4, 30], [1.5, 0, 0, -40]]), ""),
    "exponents and blanks": ({"space_directions": "( 15e-1, 0.0 ,0) (0,5.0E-1,0)  (0,0,4.)"}, LPS, ""),
    "spacings alone": (NOWHERE | {"spacings": "1.5 0.5 4"}, np.diag([1.5, 0.5, 4.0, 0])[:3], ""),
    "nothing": (NOWHERE, np.eye(4)[:3], "state its voxel size"),
    "no voxel size along k": (
        NOWHERE | {"spacings": "1.5 0.5 nan"}, np.diag([1.5, 0.5, 1.0, 0])[:3], "1.5 x 0.5 x 1 mm was assumed"),
    "no origin": ({"space_origin": None}, LPS * [1, 1, 1, 0], ""),
    "a scanner's own space": ({"space": "scanner-xyz"}, LPS, ""),
    "names in capitals": ({"space": "Left-Posterior-Superior"}, LPS, ""),
    "slanted": (
        {"space_directions": "(1.5,0,0) (0,0.5,0) (0,0.2,4)"}, np.array([LPS[0], [0, 0.5, 0.2, 30], LPS[2]]), ""),
    "units of mm": ({"space_units": '"mm" "mm" "mm"'}, LPS, ""),
    "units of cm": ({"space_units": '"cm" "cm" "cm"'}, LPS, "in cm"),
    "units in Latin 1": ({"space_units": '"\udcb5m" "\udcb5m" "\udcb5m"'}, LPS, "in ?m"),
    "kinds of domains": ({"kinds": "domain domain domain"}, LPS, ""),
    "kinds of spaces": ({"kinds": "space space space"}, LPS, ""),
    "cells": ({"centerings": "cell cell cell"}, LPS, ""),
    "a frame of measurement": ({"measurement_frame": "(1,0,0) (0,1,0) (0,0,1)"}, LPS, ""),
    "lines that end as on Windows": ({"end": "\r\n"}, LPS, ""),
    "version 1": (NOWHERE | {"magic": "NRRD0001", "spacings": "1.5 0.5 4"}, np.diag([1.5, 0.5, 4.0, 0])[:3], ""),
    "version 5": ({"magic": "NRRD0005"}, LPS, ""),
    "comments and keys": ({"end": "\n# a comment\nkey:=value\n", "magic": "NRRD0005"}, LPS, ""),
    "old names": ({"min": None, "content": "a word"}, LPS, ""),
    "a list of one": (
        {"dimension": "4", "sizes": "1 9 7 5", "kinds": "list domain domain domain",
         "space_directions": "none (1.5,0,0) (0,0.5,0) (0,0,4)"}, LPS, ""),
    "one volume at the end": (
        {"dimension": "4", "sizes": "9 7 5 1", "kinds": "domain domain domain list",
         "space_directions": "(1.5,0,0) (0,0.5,0) (0,0,4) none"}, LPS, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_spaces(tmp_path: Path, name: str) -> None:
    fields, matrix, told = SPACES[name]
    if name == "comments and keys":
        content = nrrd_header({}, "NRRD0005").replace(b"\nendian", b"\n# a comment\nkey:=value: of more\nendian")
        (tmp_path / "a.nrrd").write_bytes(content + RAW)
        check(tmp_path / "a.nrrd")
    else:
        check(nrrd(tmp_path / "a.nrrd", **fields), matrix=matrix, told=told)


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
    (tmp_path / "sub dir").mkdir()
    if file:
        (tmp_path / file).write_bytes(before + (gzip.compress(RAW) if name == "packed" else RAW))
    parts = [] if file else in_parts(tmp_path, "s%02d.raw")
    given = {key: value and value.format(folder=tmp_path) for key, value in fields.items()}
    header = nrrd(tmp_path / "v.nhdr", b"", **given)
    if name == "a list":  # the list of names ends the header
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
    "a direction that is no number": ({"space_directions": "(1,0,0) (0,nan,0) (0,0,1)"}, "spacing"),
    "a direction without end": ({"space_directions": "(inf,0,0) (0,1,0) (0,0,1)"}, "spacing"),
    "a spacing of 0": (NOWHERE | {"spacings": "0 1 1"}, "spacing"),
    "an origin that is none": ({"space_origin": "(nan,0,0)"}, "is not a position"),
    "slices that are sheared, and flat": ({"space_directions": "(1.5,0,0) (1.5,0,0) (0,0,4)"}, "flat|cannot be read"),
    "time points": ({"dimension": "4", "sizes": "9 7 5 2", "kinds": "domain domain domain time",
                     "space_directions": "(1.5,0,0) (0,0.5,0) (0,0,4) none", "data": b"\1\0" * 315 + b"\2\0" * 315},
                    "4D"),
    "a file of data that is missing": ({"data_file": "gone.raw", "data": b""}, "gone.raw is not there"),
    "packed with bzip2": ({"encoding": "bzip2", "data": bz2.compress(RAW)}, "bzip2"),
    "text that is too short": ({"encoding": "text", "data": b"1 2 3"}, "cannot be read|truncated"),
    "numbered files, one of them missing": ({"data_file": "s%02d.raw 0 4 1 2", "data": b""}, "s00.raw is not there"),
    "an encoding that is none": ({"encoding": "zrle"}, "cannot be read"),
    "numbers with commas between them": ({"encoding": "ascii", "data": as_text(RAMP).replace(b" ", b",")}, "damaged"),
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
