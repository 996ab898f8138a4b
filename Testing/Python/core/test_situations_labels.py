"""One situation per row: annotations, file names and outputs, and the right result or a refusal in one line."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import SimpleITK
from core.conftest import itk_image

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import check_output, place_on, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import read_volume

GRID = Geometry((9, 7, 5), (0.7, 1.1, 4.0), (-12.5, 30.25, -801.125))
LABELS = np.zeros(GRID.shape, np.uint8)
LABELS[2, 2:5, 3:6], LABELS[4, 1:3, 6:9] = 1, 7


def image(path: Path, labels: np.ndarray, geometry: Geometry | None = GRID, **options: bool) -> Path:
    """A label map that SimpleITK writes."""
    SimpleITK.WriteImage(itk_image(labels, geometry, **options), path)
    return path


def _scaled(by: float) -> Geometry:
    return replace(GRID, spacing=tuple(length * by for length in GRID.spacing))


def seg_nrrd(path: Path, array: np.ndarray, fields: dict[str, str], origin: tuple[float, ...] = GRID.origin) -> Path:
    """A `.seg.nrrd` that pynrrd writes; array (I, J, K) or (layers, I, J, K)."""
    vectors = np.diag(GRID.spacing)
    header: dict[str, Any] = {"space": "left-posterior-superior", "space origin": origin, **fields}
    header["space directions"] = vectors if array.ndim == 3 else np.vstack([[np.nan] * 3, vectors])
    header["kinds"] = ["list"] * (array.ndim - 3) + ["domain"] * 3
    nrrd.write(str(path), array, header, index_order="F")
    return path


ONE = {"Segment0_ID": "a", "Segment0_Name": "liver", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
TWO = ONE | {"Segment1_ID": "b", "Segment1_Name": "spleen", "Segment1_LabelValue": "7", "Segment1_Layer": "0"}
OVER = ONE | {"Segment1_ID": "b", "Segment1_Name": "all", "Segment1_LabelValue": "1", "Segment1_Layer": "1"}
IJK = LABELS.T


def _cropped(path: Path) -> Path:
    """As Slicer saves it: only the painted extent, with its origin and the offset of the whole."""
    box = IJK[3:9, 1:5, 2:5]
    origin = tuple(float(o + n * s) for o, n, s in zip(GRID.origin, (3, 1, 2), GRID.spacing, strict=True))
    extra = {"Segment0_Extent": "0 2 1 3 0 0", "Segmentation_ReferenceImageExtentOffset": "3 1 2"}
    return seg_nrrd(path, box, TWO | extra, origin)


def _turned(path: Path, axes: tuple[int, int, int], flips: tuple[int, ...]) -> Path:
    """The same positions with index axes in another order (of i, j, k), some of them reversed."""
    matrix = GRID.index_to_physical()
    array, columns, origin = IJK, [matrix[:3, axis] for axis in range(3)], matrix[:3, 3]
    for axis in flips:
        origin = origin + columns[axis] * (IJK.shape[axis] - 1)
        columns[axis] = -columns[axis]
        array = np.flip(array, axis)
    header = {"space": "left-posterior-superior", "space directions": np.array([columns[axis] for axis in axes])}
    nrrd.write(str(path), np.ascontiguousarray(array.transpose(axes)), {**header, "space origin": origin})
    return path


ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
READ: dict[str, Callable[[Path], Path]] = {
    "a label map": lambda d: image(d / "a.nrrd", LABELS),
    "of 16 bits": lambda d: image(d / "a.mha", LABELS.astype(np.uint16)),
    "of 64 bits": lambda d: image(d / "a.nrrd", LABELS.astype(np.int64)),
    "of floats": lambda d: image(d / "a.nii.gz", LABELS.astype(np.float32)),
    "a segmentation of one layer": lambda d: seg_nrrd(d / "a.seg.nrrd", IJK, TWO),
    "a segmentation cut to what is painted": lambda d: _cropped(d / "a.seg.nrrd"),
    "a folder with hidden files": lambda d: (image(d / "a.nrrd", LABELS), _text(d / ".DS_Store", "x"), d)[2],
    "a segmentation without its suffix": lambda d: seg_nrrd(d / "a.nrrd", IJK, TWO),
    "a segmentation in 16 bits": lambda d: seg_nrrd(d / "a.seg.nrrd", IJK.astype(np.uint16), TWO),
    "a voxel size that is rounded": lambda d: image(d / "a.nrrd", LABELS, _scaled(1 + 1e-5)),
    **{
        f"axes {axes}, backwards {flips}": lambda d, axes=axes, flips=flips: _turned(d / "a.nrrd", axes, flips)
        for axes, flips in zip(ORDERS, [(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)], strict=True)
    },
    "a name with blanks": lambda d: image(d / "my labels (1).nrrd", LABELS),
    "a name of other languages": lambda d: image(d / "Größe 肝臓 π.nrrd", LABELS),
    "a name with marks": lambda d: image(d / "a#b%20c&d;e'f.nrrd", LABELS),
    "a name with dots": lambda d: image(d / "p.1.2.labels.v3.nrrd", LABELS),
    "a name in capitals": lambda d: image(d / "A.NRRD", LABELS),
    "a hidden file": lambda d: image(d / ".a.nrrd", LABELS),
    "a long name": lambda d: image(d / ("a" * 240 + ".nrrd"), LABELS),
    "a name with a line break": lambda d: image(d / "a.nrrd", LABELS).rename(d / "a\nb.nrrd"),
    "a name that begins with a dash": lambda d: image(d / "a.nrrd", LABELS).rename(d / "-o.nrrd"),
    "a link": lambda d: _link(d / "link.nrrd", image(d / "a.nrrd", LABELS)),
    "a link to a link": lambda d: _link(d / "second", _link(d / "first", image(d / "a.nrrd", LABELS))),
    "a link in another folder": lambda d: _link(d / "sub" / "b.nrrd", image(d / "a.nrrd", LABELS)),
    "read-only": lambda d: _mode(image(d / "a.nrrd", LABELS), 0o444),
}


def _text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def _link(path: Path, target: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    return path


def _mode(path: Path, mode: int) -> Path:
    path.chmod(mode)
    return path


@pytest.mark.parametrize("name", READ)
def test_annotations_that_are_read(tmp_path: Path, name: str) -> None:
    segmentation = read_segmentation(READ[name](tmp_path))
    placed, warnings = place_on(segmentation, GRID)
    labels = sum(placed.mask(segment) * segment.label_value for segment in placed.segments)
    np.testing.assert_array_equal(labels, LABELS)
    assert not warnings and not segmentation.warnings


def _shifted(voxels: float) -> Geometry:
    return replace(GRID, origin=(GRID.origin[0] + voxels * GRID.spacing[0], *GRID.origin[1:]))


TOLD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "off by a tenth of a voxel": (lambda d: image(d / "a.nrrd", LABELS, _shifted(0.1)), "volume's by up to 0.1"),
    "partly outside": (lambda d: image(d / "a.nrrd", LABELS, _shifted(3.0)), "lie outside"),
    "a value of no segment": (lambda d: seg_nrrd(d / "a.seg.nrrd", IJK, ONE), "belong to no segment"),
}
NOT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "off by a third of a voxel": (lambda d: image(d / "a.nrrd", LABELS, _shifted(0.34)), "another grid"),
    "another voxel size": (lambda d: image(d / "a.nrrd", LABELS, _scaled(1.2)), "another grid"),
    "half the voxel size": (lambda d: image(d / "a.nrrd", np.repeat(LABELS, 2, 2), _scaled(0.5)), "another grid"),
    "far away": (lambda d: image(d / "a.nrrd", LABELS, _shifted(500.0)), "outside the volume"),
    "nothing painted": (lambda d: image(d / "a.nrrd", LABELS * 0), "no painted voxel"),
    "a segmentation with nothing painted": (lambda d: seg_nrrd(d / "a.seg.nrrd", IJK * 0, TWO), "no painted voxel"),
    "labels below 0": (lambda d: image(d / "a.nrrd", -LABELS.astype(np.int16)), "-7"),
    "labels beyond 65535": (lambda d: image(d / "a.nrrd", LABELS.astype(np.int32) * 10_000), "70000"),
    "probabilities": (lambda d: image(d / "a.nrrd", LABELS * np.float32(0.1)), "whole numbers"),
    "colours": (
        lambda d: image(d / "a.nrrd", np.stack([LABELS] * 3, -1), isVector=True), "values per voxel and no segments"),
    "a segment of a layer that is not there": (
        lambda d: seg_nrrd(d / "a.seg.nrrd", IJK, ONE | {"Segment0_Layer": "3"}), "layer|damaged"),
    "a label that is no number": (
        lambda d: seg_nrrd(d / "a.seg.nrrd", IJK, ONE | {"Segment0_LabelValue": "one"}), "damaged|label"),
    "a missing file": (lambda d: d / "none.nrrd", "does not exist"),
    "a link to nothing": (lambda d: _link(d / "a.nrrd", d / "gone.nrrd"), "does not exist"),
    "a folder of several files": (
        lambda d: (image(d / "a.nrrd", LABELS), image(d / "b.nrrd", LABELS), d)[2], "is a folder"),
    "a JPEG picture": (lambda d: image(d / "a.jpg", LABELS[0] * 9, None), "does not preserve labels"),
    "two segments of one label value": (
        lambda d: seg_nrrd(d / "a.seg.nrrd", IJK, TWO | {"Segment1_LabelValue": "1"}),
        "and another one have the label value"),
    "surfaces": (lambda d: _text(d / "a.seg.vtm", '<?xml version="1.0"?>\n<VTKFile type="x">'), "is a VTK XML file"),
    "names of labels": (lambda d: _text(d / "l.txt", '# ITK-SnAP Label Description File\n 1 255'), "text file"),
    "a text file": (lambda d: _text(d / "a.nrrd", "no labels"), "cannot be read"),
    "JSON": (lambda d: _text(d / "a.json", '{"labels": []}'), "cannot be read.*it is a text file"),
    "a table": (lambda d: _text(d / "a.csv", "i,j,k,label\n1,2,3,1\n"), "cannot be read"),
    "a surface": (lambda d: _text(d / "a.stl", "solid liver\nendsolid"), "surface"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_annotations_of_which_something_is_told(tmp_path: Path, name: str) -> None:
    make, word = TOLD[name]
    segmentation = read_segmentation(make(tmp_path))
    _, warnings = place_on(segmentation, GRID)
    assert word in " ".join([*segmentation.warnings, *warnings])


@pytest.mark.parametrize("name", NOT)
def test_annotations_that_are_refused(tmp_path: Path, name: str) -> None:
    make, word = NOT[name]
    with pytest.raises(BadInputError, match=word) as caught:
        place_on(read_segmentation(make(tmp_path)), GRID)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = _mode(image(tmp_path / "a.nrrd", LABELS), 0)
    with pytest.raises(BadInputError, match="permission"):
        read_segmentation(path)


def test_segments_that_overlap(tmp_path: Path) -> None:
    path = seg_nrrd(tmp_path / "a.seg.nrrd", np.stack([IJK == 1, IJK > 0]).astype(np.uint8), OVER)
    segmentation = read_segmentation(path)
    assert [segment.name for segment in segmentation.segments] == ["liver", "all"]
    assert [int(segmentation.mask(segment).sum()) for segment in segmentation.segments] == [9, 15]


SUFFIXES = ["seg.nrrd", "nrrd", "nii", "nii.gz", "mha", "SEG.NRRD", "Nii.Gz", "NRRD", "NII", "Mha"]
NAMES = ["a", "with blanks", "Größe 肝臓", "v1.2.3", "a#b%20&c;'", "-o", ".hidden", "b" * 200]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_outputs(tmp_path: Path, name: str, suffix: str) -> None:
    segments = (Segment("a", "liver", (1, 0, 0), 1), Segment("b", "Milz π", (0, 1, 0), 7))
    path = tmp_path / f"{name}.{suffix}"
    check_output(path)
    assert not write_segmentation(Segmentation(LABELS[np.newaxis], GRID, segments), path)
    back = read_segmentation(path)
    assert [each.label_value for each in back.segments] == [1, 7] and back.geometry.is_same_as(GRID)
    np.testing.assert_array_equal(back.layers[0], LABELS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.png", "a.nrrd.gz", "a.zip", "a.nhdr", "a.mhd", "a.hdr", "nrrd"])
def test_outputs_of_other_kinds_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInputError, match="suffix"):
        check_output(tmp_path / name)


VOLUMES = ["a b.nrrd", "Größe π.nii.gz", "a#%d.mha", "x" * 200 + ".nii", "A.MHA", "B.NII.GZ", "-c.nrrd", ".d.nrrd"]


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("name", VOLUMES)
def test_names_of_volumes(tmp_path: Path, name: str, linked: bool) -> None:
    path = image(tmp_path / f"v.{name.lower().split('.', 1 + name.startswith('.'))[-1]}", LABELS).rename(
        tmp_path / name
    )
    if linked:
        path = _link(tmp_path / "sub" / name, path)
    np.testing.assert_array_equal(read_volume(path).voxels, LABELS)
