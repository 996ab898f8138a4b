"""Bad input ends with exit code 2 and one line that says what is wrong and what to do; nothing is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import painted
import pytest
import SimpleITK
import torch

from FewShotSAMLib.cli import main
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import write_segmentation

Arguments = dict[str, str]
VOLUME, TRUTH = ct_phantom((6, 40, 48), seed=2)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a matching volume.nrrd and volume-painted.seg.nrrd."""
    painted.write(tmp_path, (3,), ("liver", "spleen"), depth=6, seed=2)
    return tmp_path


def unreadable(folder: Path) -> Arguments:
    (folder / "volume.nrrd").write_bytes(b"this is not an image")
    return {}


def truncated(folder: Path) -> Arguments:
    whole = (folder / "volume.nrrd").read_bytes()
    (folder / "volume.nrrd").write_bytes(whole[: len(whole) // 2])
    return {}


def four_dimensions(folder: Path) -> Arguments:
    image = SimpleITK.JoinSeries([SimpleITK.ReadImage(str(folder / "volume.nrrd"))] * 2)
    SimpleITK.WriteImage(image, str(folder / "film.nii.gz"))
    return {"VOLUME": "film.nii.gz"}


def empty_annotation(folder: Path) -> Arguments:
    write_image(np.zeros(VOLUME.voxels.shape, np.uint8), VOLUME.geometry, folder / "nothing.nii.gz")
    return {"ANNOTATION": "nothing.nii.gz"}


def another_geometry(folder: Path) -> Arguments:
    elsewhere = replace(VOLUME.geometry, spacing=(1.23, 4.56, 7.89))
    write_segmentation(replace(TRUTH, geometry=elsewhere), folder / "other.seg.nrrd")
    return {"ANNOTATION": "other.seg.nrrd"}


def two_axes(folder: Path) -> Arguments:
    volume, truth = ct_phantom((30, 40, 48), seed=2)
    write_image(volume.voxels, volume.geometry, folder / "volume.nrrd")
    kept = np.zeros(truth.layers.shape, bool)
    kept[:, [14, 20]] = True
    kept[:, :, [18, 24]] = True
    write_segmentation(replace(truth, layers=truth.layers * kept), folder / "two.seg.nrrd")
    return {"ANNOTATION": "two.seg.nrrd"}


def constant_image(folder: Path) -> Arguments:
    write_image(np.full(VOLUME.voxels.shape, 7, np.int16), VOLUME.geometry, folder / "flat.nrrd")
    return {"VOLUME": "flat.nrrd"}


def label_beyond_range(folder: Path) -> Arguments:
    labels = np.zeros(VOLUME.voxels.shape, np.int32)
    labels[3, 10:20, 10:20] = 70000
    write_image(labels, VOLUME.geometry, folder / "large.nrrd")
    return {"ANNOTATION": "large.nrrd"}


def wrong_checkpoint(folder: Path) -> Arguments:
    torch.save({"model": {"weight": torch.zeros(3)}}, folder / "wrong.pth")
    return {"--encoder": "vit_b", "--checkpoint": str(folder / "wrong.pth")}


def itself(folder: Path) -> Arguments:
    (folder / "link.nrrd").symlink_to(folder / "volume.nrrd")
    return {"ANNOTATION": "link.nrrd"}


def tilted(folder: Path) -> Arguments:
    """A grid that NIfTI cannot store."""
    for name in ("volume.nrrd", "volume-painted.seg.nrrd"):
        content = (folder / name).read_bytes()
        head, _, rest = content.partition(b"space directions: ")
        vectors, _, rest = rest.partition(b"\n")
        assert vectors.split(b" ")[2].startswith(b"(0")
        slanted = b" ".join([*vectors.split(b" ")[:2], b"(0,6," + vectors.split(b" ")[2].split(b",")[2]])
        (folder / name).write_bytes(head + b"space directions: " + slanted + b"\n" + rest)
    return {"--output": "out.nii.gz"}


def all_painted(folder: Path) -> Arguments:
    """A finished segmentation."""
    layers = np.ones_like(TRUTH.layers)
    layers[:, :, :20] = 0
    write_image(layers[0], VOLUME.geometry, folder / "finished.nrrd")
    return {"ANNOTATION": "finished.nrrd", "--axis": "0"}


def fixed(**arguments: str) -> Callable[[Path], Arguments]:
    return lambda folder: {f"--{name}" if name.islower() else name: value for name, value in arguments.items()}


CASES: dict[str, tuple[Callable[[Path], Arguments], list[str]]] = {
    "missing volume": (fixed(VOLUME="nowhere.nrrd"), ["nowhere.nrrd"]),
    "unreadable volume": (unreadable, ["volume.nrrd"]),
    "truncated volume": (truncated, ["volume.nrrd"]),
    "4D volume": (four_dimensions, ["4D"]),
    "constant volume": (constant_image, ["constant"]),
    "empty annotation": (empty_annotation, ["no painted voxel"]),
    "annotation of another geometry": (another_geometry, ["1.23", "8, 7.75"]),
    "painted along two axes": (two_axes, ["axes"]),
    "label beyond range": (label_beyond_range, ["70000"]),
    "unknown encoder": (fixed(encoder="vit_z"), ["vit_z", "vit_b"]),
    "missing checkpoint": (fixed(encoder="vit_b"), ["models download vit_b"]),
    "wrong checkpoint": (wrong_checkpoint, ["wrong.pth"]),
    "no CUDA": (fixed(device="cuda"), ["CUDA"]),
    "missing output folder": (fixed(output="nowhere/out.seg.nrrd"), ["nowhere"]),
    "output folder not writable": (fixed(output="/proc/out.seg.nrrd"), ["/proc"]),
    "output of unknown kind": (fixed(output="out.docx"), ["out.docx"]),
    "confidence of unknown kind": (fixed(confidence="out.png"), ["out.png", ".nrrd"]),
    "name too long": (fixed(output=f"{'o' * 260}.nrrd"), ["too long"]),
    "name that is no UTF-8": (fixed(VOLUME="Gr\udcf6.nrrd"), ["UTF-8", "Rename"]),
    "DICOM result of another volume": (fixed(output="out.dcm"), ["DICOM", ".seg.nrrd"]),
    "grid that NIfTI cannot hold": (tilted, ["out.nii.gz", "perpendicular", ".seg.nrrd"]),
    "the volume as annotation": (itself, ["both as the volume"]),
    "every slice painted": (all_painted, ["nothing left to predict", "--painted-slices"]),
}


@pytest.mark.usefixtures("in_kept_process")
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_exit_code_2(
    case: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if case == "no CUDA" and torch.cuda.is_available():
        pytest.skip("there is CUDA")
    make, words = CASES[case]
    monkeypatch.chdir(files)
    given = {
        "VOLUME": "volume.nrrd",
        "ANNOTATION": "volume-painted.seg.nrrd",
        "--output": "out.seg.nrrd",
        **make(files),
    }
    before = sorted(files.iterdir())
    positional = [given.pop("VOLUME"), given.pop("ANNOTATION")]
    options = [part for pair in given.items() for part in pair]
    assert main(["propagate", *positional, *options, "--quiet"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
    assert sorted(files.iterdir()) == before


@pytest.mark.usefixtures("in_kept_process")
def test_voxels_that_are_no_numbers_are_taken_with_a_warning(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = VOLUME.voxels.astype(np.float32)
    voxels[2, 5, 5], voxels[4, 6, 6] = np.nan, np.inf
    write_image(voxels, VOLUME.geometry, files / "nan.nrrd")
    command = [
        "propagate",
        str(files / "nan.nrrd"),
        str(files / "volume-painted.seg.nrrd"),
        "-o",
        str(files / "out.seg.nrrd"),
    ]
    assert main([*command, "--steps", "0", "--quiet"]) == 0
    assert "NaN" in capsys.readouterr().err
    assert (files / "out.seg.nrrd").is_file()
