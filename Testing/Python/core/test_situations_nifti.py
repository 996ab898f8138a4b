"""One situation per row: what a NIfTI or Analyze file can say, and the right result or a refusal in one line."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from core.conftest import check_refused
from core.ramps import RAMP

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.volume import read_volume

SPACING = (1.5, 0.5, 4.0)
CODES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "int8": 256, "uint16": 512, "uint32": 768}
CODES |= {"int64": 1024, "uint64": 1280}
SHORT = RAMP.astype(np.int16)


def header(order: str = "<", **fields: Any) -> bytes:
    """The 348 bytes of a NIfTI-1 header, straight from the format's table; fields by the table's names."""
    values: dict[str, tuple[int, str, Any]] = {
        "sizeof_hdr": (0, "i", 348),
        "dim": (40, "8h", (3, 9, 7, 5, 1, 1, 1, 1)),
        "intent_code": (68, "h", 0),
        "datatype": (70, "h", 4),
        "bitpix": (72, "h", 16),
        "pixdim": (76, "8f", (1, *SPACING, 0, 0, 0, 0)),
        "vox_offset": (108, "f", 352),
        "scl_slope": (112, "f", 0),
        "scl_inter": (116, "f", 0),
        "xyzt_units": (123, "B", 2),
        "cal_max": (124, "f", 0),
        "descrip": (148, "80s", b""),
        "aux_file": (228, "24s", b""),
        "qform_code": (252, "h", 1),
        "sform_code": (254, "h", 0),
        "quatern": (256, "3f", (0, 0, 0)),
        "qoffset": (268, "3f", (-20, -30, -40)),
        "srow": (280, "12f", (0,) * 12),
        "magic": (344, "4s", b"n+1"),
    }
    content = bytearray(348)
    for name, (offset, code, usual) in values.items():
        given = fields.pop(name, usual)
        struct.pack_into(order + code, content, offset, *(given if isinstance(given, tuple) else (given,)))
    assert not fields
    return bytes(content)


def srow(matrix: list[list[float]]) -> tuple[float, ...]:
    """The sform's twelve numbers."""
    return tuple(float(value) for row in matrix for value in row)


def one_file(path: Path, voxels: np.ndarray = SHORT, gap: bytes = b"\0\0\0\0", **fields: Any) -> Path:
    """A single file of a header and voxels as they are in memory."""
    content = header(**fields) + gap + voxels.tobytes()
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def of_type(name: str, order: str) -> dict[str, Any]:
    kind = np.dtype(name).newbyteorder(order)
    return {"voxels": RAMP.astype(kind), "order": order, "datatype": CODES[name], "bitpix": 8 * kind.itemsize}


@pytest.mark.parametrize("packed", ["nii", "nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", CODES)
def test_types_and_byte_orders(tmp_path: Path, name: str, order: str, packed: str) -> None:
    volume = read_volume(one_file(tmp_path / f"a.{packed}", **of_type(name, order)))
    assert volume.voxels.dtype == np.dtype(name) and volume.voxels.dtype.isnative
    np.testing.assert_array_equal(volume.voxels, RAMP.astype(name))
    # RAS in the file, LPS here.
    np.testing.assert_allclose(volume.geometry.origin, (20, 30, -40))
    np.testing.assert_allclose(volume.geometry.direction, np.diag([-1, -1, 1]).ravel())
    assert volume.geometry.spacing == SPACING and not volume.warnings


NAN = float("nan")
SCALES = {
    "none": (0, 0, 1, 0),
    "none, but an intercept": (0, 7, 1, 0),
    "slope 1": (1, 0, 1, 0),
    "slope 1 and an intercept": (1, -1024, 1, -1024),
    "both": (0.5, -10, 0.5, -10),
    "negative slope": (-2, 0, -2, 0),
    "slope NaN": (NAN, 0, 1, 0),
    "slope and intercept NaN": (NAN, NAN, 1, 0),
    "slope infinite": (float("inf"), 0, 1, 0),
}


@pytest.mark.parametrize("name", SCALES)
def test_scales(tmp_path: Path, name: str) -> None:
    slope, intercept, factor, summand = SCALES[name]
    volume = read_volume(one_file(tmp_path / "a.nii", scl_slope=slope, scl_inter=intercept))
    np.testing.assert_allclose(volume.voxels, RAMP * factor + summand)


RAS = [[1.5, 0, 0, -20], [0, 0.5, 0, -30], [0, 0, 4, -40]]
TURNED = [[0, 0, 4, -20], [1.5, 0, 0, -30], [0, 0.5, 0, -40]]
PLACES: dict[str, tuple[dict[str, Any], list[list[float]], str]] = {
    "qform": ({}, RAS, ""),
    "qfac 0 counts as 1": ({"pixdim": (0, *SPACING, 0, 0, 0, 0)}, RAS, ""),
    "qfac -1 turns k": ({"pixdim": (-1, *SPACING, 0, 0, 0, 0)}, [*RAS[:2], [0, 0, -4, -40]], ""),
    "half a turn about k": ({"quatern": (0, 0, 1)}, [[-1.5, 0, 0, -20], [0, -0.5, 0, -30], RAS[2]], ""),
    "a quarter turn": ({"quatern": (0, 0, 0.5**0.5)}, [[0, -0.5, 0, -20], [1.5, 0, 0, -30], RAS[2]], ""),
    "qform code 2": ({"qform_code": 2}, RAS, ""),
    "sform alone": ({"qform_code": 0, "sform_code": 1, "srow": srow(TURNED)}, TURNED, ""),
    "sform of code 2 alone": ({"qform_code": 0, "sform_code": 2, "srow": srow(TURNED)}, TURNED, ""),
    "sform of code 4 alone": ({"qform_code": 0, "sform_code": 4, "srow": srow(TURNED)}, TURNED, ""),
    "sform before qform": ({"sform_code": 1, "srow": srow(TURNED)}, TURNED, "two positions"),
    "qform before a template's sform": ({"sform_code": 4, "srow": srow(TURNED)}, RAS, "two positions"),
    "left-handed sform": (
        {"qform_code": 0, "sform_code": 1, "srow": srow([[-1.5, 0, 0, 20], *RAS[1:]])},
        [[-1.5, 0, 0, 20], *RAS[1:]],
        "",
    ),
    "neither": ({"qform_code": 0}, [[-1.5, 0, 0, 0], [0, -0.5, 0, 0], [0, 0, 4, 0]], "left and right"),
    "metres": (
        {"xyzt_units": 1, "pixdim": (1, 1.5e-3, 0.5e-3, 4e-3, 0, 0, 0, 0), "qoffset": (-0.02, -0.03, -0.04)},
        RAS,
        "",
    ),
    "micrometres": (
        {"xyzt_units": 3, "pixdim": (1, 1500.0, 500.0, 4000.0, 0, 0, 0, 0), "qoffset": (-2e4, -3e4, -4e4)},
        RAS,
        "",
    ),
    "unknown units": ({"xyzt_units": 0}, RAS, ""),
    "units of time besides": ({"xyzt_units": 2 | 8}, RAS, ""),
    "an intent of labels": ({"intent_code": 1002}, RAS, ""),
    "words in the description": ({"descrip": b"FSL5.0 \xff\xfe", "aux_file": b"none"}, RAS, ""),
    "a window of display": ({"cal_max": 300.0}, RAS, ""),
    "4D of one frame": ({"dim": (4, 9, 7, 5, 1, 1, 1, 1)}, RAS, ""),
    "5D of one of each": ({"dim": (5, 9, 7, 5, 1, 1, 1, 1)}, RAS, ""),
    "lengths beyond those that count": ({"dim": (3, 9, 7, 5, 0, -1, 77, 1)}, RAS, ""),
    "an offset of 0": ({"vox_offset": 0, "gap": b""}, RAS, ""),
    "an extension": ({"vox_offset": 384, "gap": b"\1\0\0\0" + struct.pack("<2i", 32, 6) + b"x" * 24}, RAS, ""),
}


@pytest.mark.parametrize("name", PLACES)
def test_places(tmp_path: Path, name: str) -> None:
    fields, matrix, told = PLACES[name]
    volume = read_volume(one_file(tmp_path / "a.nii", **fields))
    expected = np.diag([-1, -1, 1]) @ np.array(matrix)
    np.testing.assert_allclose(volume.geometry.index_to_physical()[:3], expected, atol=1e-4)
    np.testing.assert_array_equal(volume.voxels, RAMP)
    assert told in "".join(volume.warnings) and bool(told) == bool(volume.warnings)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "complex numbers": ({"datatype": 32, "bitpix": 64, "voxels": RAMP.astype(np.complex64)}, "complex"),
    "complex numbers of 16 bytes": ({"datatype": 1792, "bitpix": 128, "voxels": RAMP.astype(np.complex128)}, "complex"),
    "two time points": ({"dim": (4, 9, 7, 5, 2, 1, 1, 1), "voxels": np.stack([SHORT, SHORT])}, "4D"),
    "three components": ({"dim": (5, 9, 7, 5, 1, 3, 1, 1), "voxels": np.stack([SHORT] * 3), "intent_code": 1007}, "4D"),
    "no dimension": ({"dim": (0, 9, 7, 5, 1, 1, 1, 1)}, "damaged"),
    "eight dimensions": ({"dim": (8, 9, 7, 5, 1, 1, 1, 1)}, "damaged"),
    "a length of 0": ({"dim": (3, 9, 0, 5, 1, 1, 1, 1)}, "damaged"),
    "a length below 0": ({"dim": (3, 9, -7, 5, 1, 1, 1, 1)}, "damaged"),
    "a type that is none": ({"datatype": 77}, "damaged"),
    "single bits": ({"datatype": 1, "bitpix": 1}, "damaged"),
    "data cut off": ({"voxels": SHORT[:4]}, "truncated"),
    "data far behind the end": ({"vox_offset": 4e6}, "truncated"),
    "an offset that is no number": ({"vox_offset": NAN}, "damaged"),
    "a spacing of 0": ({"pixdim": (1, 0, 0.5, 4, 0, 0, 0, 0)}, "spacing"),
    "a spacing that is no number": ({"pixdim": (1, 1, NAN, 4, 0, 0, 0, 0)}, "spacing"),
    "a spacing below 0": ({"pixdim": (1, -1.5, 0.5, 4, 0, 0, 0, 0)}, "spacing"),
    "a spacing without end": ({"pixdim": (1, 1, 1, float("inf"), 0, 0, 0, 0)}, "spacing"),
    "an sform of zeros": ({"qform_code": 0, "sform_code": 1}, "spacing"),
    "an sform that is no number": ({"qform_code": 0, "sform_code": 1, "srow": (NAN,) * 12}, "not numbers"),
    "a slanted sform": (
        {"qform_code": 0, "sform_code": 1, "srow": srow([[1.5, 0.4, 0, 0], [0, 0.5, 0, 0], [0, 0, 4, 0]])},
        "perpendicular",
    ),
    "a quaternion that is none": ({"quatern": (2, 2, 2)}, "rotation"),
    "a constant volume": ({"voxels": np.full_like(SHORT, 3)}, "constant"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    fields, word = REFUSED[name]
    path = one_file(tmp_path / "a.nii", **fields)
    assert str(path) in check_refused(path, word)


@pytest.mark.parametrize(("parts", "code"), [(3, 128), (4, 2304)])
def test_colours(tmp_path: Path, parts: int, code: int) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (5, 7, 9, parts), np.uint8)
    volume = read_volume(one_file(tmp_path / "a.nii", voxels, datatype=code, bitpix=8 * parts))
    np.testing.assert_array_equal(volume.voxels, voxels[..., :3])


def _pair(folder: Path, magic: bytes, order: str = "<", packed: bool = False) -> None:
    """Header and data in separate files; without a magic number it is Analyze 7.5."""
    fields: dict[str, Any] = {"vox_offset": 0, "magic": magic}
    if not magic:  # Analyze has other fields where NIfTI has its matrices
        fields |= {"qform_code": 0, "quatern": (0, 0, 0), "qoffset": (0, 0, 0), "xyzt_units": 0}
    (folder / "p.hdr").write_bytes(header(order, **fields))
    data = RAMP.astype(np.dtype(np.int16).newbyteorder(order)).tobytes()
    (folder / ("p.img.gz" if packed else "p.img")).write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("named", ["p.hdr", "p.img"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [b"ni1", b""])
def test_header_and_data_apart(tmp_path: Path, magic: bytes, order: str, named: str) -> None:
    _pair(tmp_path, magic, order)
    volume = read_volume(tmp_path / named)
    np.testing.assert_array_equal(volume.voxels, RAMP)
    assert volume.geometry.spacing == SPACING
    assert bool(volume.warnings) == (not magic), "Analyze does not tell left from right"


@pytest.mark.parametrize("named", ["p.hdr", "p.img.gz"])
def test_packed_data_beside_a_plain_header(tmp_path: Path, named: str) -> None:
    _pair(tmp_path, b"ni1", packed=True)
    np.testing.assert_array_equal(read_volume(tmp_path / named).voxels, RAMP)


@pytest.mark.parametrize("named", ["p.hdr.gz", "p.img.gz"])
def test_both_packed(tmp_path: Path, named: str) -> None:
    """The matching data file is read, even if another image of the same name is next to it."""
    _pair(tmp_path, b"ni1", packed=True)
    (tmp_path / "p.hdr.gz").write_bytes(gzip.compress((tmp_path / "p.hdr").read_bytes()))
    (tmp_path / "p.hdr").write_bytes(header(magic=b"ni1", vox_offset=0, qoffset=(0, 0, 0)))
    (tmp_path / "p.img").write_bytes(bytes(RAMP.size * 2))
    volume = read_volume(tmp_path / named)
    np.testing.assert_array_equal(volume.voxels, RAMP)
    np.testing.assert_allclose(volume.geometry.origin, (20, 30, -40))


def test_the_scale_of_analyze_files_of_spm(tmp_path: Path) -> None:
    image = nibabel.Spm2AnalyzeImage(RAMP.T * 0.5, np.diag([*SPACING, 1]))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "p.img")
    np.testing.assert_allclose(read_volume(tmp_path / "p.hdr").voxels, RAMP * 0.5, atol=0.01)


def test_data_that_begin_as_dicom_does_and_parts_that_are_missing(tmp_path: Path) -> None:
    _pair(tmp_path, b"ni1")
    (tmp_path / "p.img").write_bytes((SHORT + 8).tobytes())
    np.testing.assert_array_equal(read_volume(tmp_path / "p.img").voxels, RAMP + 8)
    content = (tmp_path / "p.hdr").read_bytes()
    (tmp_path / "p.hdr").unlink()
    (tmp_path / "p.img").write_bytes(bytes(99))
    check_refused(tmp_path / "p.img", "has no header file: p.hdr is not there")
    (tmp_path / "p.img").unlink()
    (tmp_path / "p.hdr").write_bytes(content)
    check_refused(tmp_path / "p.hdr", "has no data file: p.img is not there")


@pytest.mark.parametrize("magic", [b"\0" * 4, b"n+1\0", b"ni2\0"])
def test_nifti_2_by_the_length_of_its_header(tmp_path: Path, magic: bytes) -> None:
    nibabel.save(nibabel.Nifti2Image(SHORT.T, FREESURFER), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:4] + magic + content[8:])
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.voxels, RAMP)
    assert volume.geometry.spacing == SPACING and not volume.warnings


def test_packed_in_parts_or_damaged(tmp_path: Path) -> None:
    content = one_file(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").voxels, RAMP)
    packed = bytearray(gzip.compress(content))
    packed[-6] ^= 1  # a bit of the checksum
    (tmp_path / "c.nii.gz").write_bytes(packed)
    check_refused(tmp_path / "c.nii.gz", "damaged")


FREESURFER = np.array([[-1.5, 0, 0, 20], [0, -0.5, 0, 30], [0, 0, 4.0, -40], [0, 0, 0, 1]])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("part", [slice(None), np.s_[:1], np.s_[:, :1], np.s_[:, :, :1]])
def test_freesurfer_of_every_type_and_single_slices(tmp_path: Path, kind: type, part: Any) -> None:
    voxels = RAMP[part].astype(kind)
    nibabel.save(nibabel.MGHImage(voxels.T, FREESURFER), tmp_path / "a.mgz")
    volume = read_volume(tmp_path / "a.mgz")
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.geometry.index_to_physical()[:3], np.diag([-1, -1, 1]) @ FREESURFER[:3])


def test_freesurfer_without_a_place_is_told(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(SHORT.T, FREESURFER), tmp_path / "a.mgh")
    content = bytearray((tmp_path / "a.mgh").read_bytes())
    content[28:30] = b"\0\0"
    (tmp_path / "a.mgh").write_bytes(content)
    volume = read_volume(tmp_path / "a.mgh")
    np.testing.assert_array_equal(volume.voxels, RAMP)
    assert volume.geometry.spacing == (1, 1, 1), "as FreeSurfer does"
    assert "goodRASFlag" in volume.warnings[0] and "voxel size" in volume.warnings[1]


def test_freesurfer_of_several_frames_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.MGHImage(np.stack([SHORT.T] * 2, -1), FREESURFER), tmp_path / "a.mgz")
    check_refused(tmp_path / "a.mgz", "not 3D")


def _labels(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    labels = np.zeros(RAMP.shape, np.int32)
    labels[2, 2:5, 3:6], labels[4, 2:4, 3:5] = 1, 7
    return change(labels)


LABELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str, tuple[int, ...] | str]] = {
    **{name: (lambda labels: labels, name, (1, 7)) for name in CODES},
    "a label of 255": (lambda labels: np.where(labels == 7, 255, labels), "uint8", (1, 255)),
    "a label of 256": (lambda labels: np.where(labels == 7, 256, labels), "int16", (1, 256)),
    "a label of 65535": (lambda labels: np.where(labels == 7, 65535, labels), "int32", (1, 65535)),
    "almost whole numbers": (lambda labels: labels + 0.001 * (labels > 0), "float32", (1, 7)),
    "a label beyond 65535": (lambda labels: np.where(labels == 7, 65536, labels), "int32", "65536"),
    "a label below 0": (lambda labels: np.where(labels == 7, -1, labels), "int16", "-1"),
    "probabilities": (lambda labels: labels * 0.13, "float32", "whole numbers"),
    "no number": (lambda labels: np.where(labels == 7, NAN, labels), "float32", "whole numbers"),
    "infinity": (lambda labels: np.where(labels == 7, np.inf, labels), "float64", "whole numbers"),
    "nothing painted": (lambda labels: labels * 0, "uint8", "no painted voxel"),
}


@pytest.mark.parametrize("name", LABELS)
def test_label_maps(tmp_path: Path, name: str) -> None:
    change, kind, expected = LABELS[name]
    fields = of_type(kind, "<") | {"voxels": _labels(change).astype(kind)}
    path = one_file(tmp_path / "labels.nii.gz", **fields)
    if isinstance(expected, str):
        with pytest.raises(BadInputError, match=expected):
            read_segmentation(path)
        return
    segmentation = read_segmentation(path)
    assert tuple(segment.label_value for segment in segmentation.segments) == expected
    assert [int(segmentation.mask(segment).sum()) for segment in segmentation.segments] == [9, 4]
