"""One situation per row: what a MetaImage header can say, and the right result or a refusal in one line."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.conftest import check_refused
from core.ramps import LPS, RAMP, RAW, as_text, check, in_parts

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import read_volume

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
    """A MetaImage file with some fields changed, those that are None left out; the data's location comes last."""
    where = fields.pop("ElementDataFile", "LOCAL")
    merged = {key: value for key, value in {**META, **fields}.items() if value is not None and key != "ElementDataFile"}
    text = "".join(f"{key} = {value}\n" for key, value in merged.items()) + f"ElementDataFile = {where}\n"
    path.write_bytes(text.encode() + (RAW if data is None else data))
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
    "neither": ({"ElementSpacing": None}, np.array([[1, 0, 0, -20], [0, 1, 0, 30], [0, 0, 1, -40]]), "voxel size"),
    "byte order by its short name": ({"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "False"}, LPS, ""),
}


@pytest.mark.parametrize("name", META_PLACES)
def test_places_of_meta_image(tmp_path: Path, name: str) -> None:
    fields, matrix, told = META_PLACES[name]
    check(meta(tmp_path / "a.mha", **fields), matrix=matrix, told=told)


def test_colons_of_meta_image_count_as_well(tmp_path: Path) -> None:
    """For ITK, too; header fields written with colons were not checked."""
    path = meta(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b" = ", b": "))
    check(path)
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing: 1.5", b"ElementSpacing: 0"))
    check_refused(path, "spacing")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_packed_data_of_meta_image(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """ITK reads uninitialised memory as voxels if the header does not say how large the compressed data are."""
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
        rest = "\n".join(in_parts(tmp_path, "s%d.raw")).encode()
        check(meta(tmp_path / "a.mhd", rest, ElementDataFile="LIST"))
        return
    if name == "pattern":
        in_parts(tmp_path, "s%02d.raw")
        check(meta(tmp_path / "a.mhd", b"", ElementDataFile="s%02d.raw 0 4 1"))
        return
    if name == "text":
        check(meta(tmp_path / "a.mha", as_text(RAMP), BinaryData="False"))
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
    "a spacing that is no number": ({"ElementSpacing": "1 nan 1"}, "spacing"),
    "a spacing without end": ({"ElementSpacing": "inf 1 1"}, "spacing"),
    "an offset that is none": ({"Offset": "nan 0 0"}, "which is not valid"),
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
    "packed data longer than stated": ({"CompressedData": "True", "CompressedDataSize": "20", "data": ZLIB}, "damaged"),
    "packed data of fewer voxels": ({"CompressedData": "True", "data": zlib.compress(RAW[: 4 * 7 * 9 * 2])}, "damaged"),
    "two time points": ({"NDims": "4", "DimSize": "9 7 5 2", "ElementSpacing": "1 1 1 1", "Offset": "0 0 0 0",
                         "TransformMatrix": None, "data": b"\1\0" * 630}, "4D"),
}  # fmt: skip


@pytest.mark.parametrize("name", META_WRONG)
def test_refusals_of_meta_image(tmp_path: Path, name: str) -> None:
    fields, word = META_WRONG[name]
    check_refused(meta(tmp_path / "a.mha", **fields), word)
