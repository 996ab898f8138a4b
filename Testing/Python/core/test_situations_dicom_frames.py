"""One situation per row: frames of DICOM files, slices in other positions, and what is refused in one line."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from core.dicom_changes import STORAGE, VOXELS, Change, Made, changed, content, jpeg_2000, set_to, two
from core.dicom_files import CAPTURE, CT, MR, SPACING, header, item, place, save, write_multiframe, write_series
from core.dicom_files import write_slice as one_slice

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import read_volume


def _frames(path: Path, order: list[int], **more: Any) -> Made:
    write_multiframe(path, VOXELS[order], order, **more)
    return path, VOXELS


def _group(sequence: str, **values: tuple[Any, Any]) -> Change:
    def change(groups: pydicom.Dataset, which: int) -> None:
        setattr(groups, sequence, [item(**{name: both[which] for name, both in values.items()})])

    return change


def _stacks(path: Path) -> Made:
    """A second stack perpendicular to the first, in the same file."""
    made = two(path, content(StackID=("1", "2")))
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.PlaneOrientationSequence = shared.PlaneOrientationSequence
        if number >= 5:
            groups.PlaneOrientationSequence = [item(ImageOrientationPatient=[0.0, 1, 0, 0, 0, -1])]
            groups.PlanePositionSequence[0].ImagePositionPatient = [2.5 * number, 0, 0]
    del shared.PlaneOrientationSequence
    dataset.save_as(path)
    return made


def _gap(folder: Path, kept: list[int]) -> Made:
    for number in kept:
        one_slice(folder / f"{number:02}.dcm", VOXELS[number % 5], number)
    return folder, VOXELS[np.array(kept) % 5]


def _tilted(folder: Path, shift: float) -> Made:
    for number, plane in enumerate(VOXELS):
        moved = [*place(number)[:1], place(number)[1] + shift * number, place(number)[2]]
        one_slice(folder / f"{number}.dcm", plane, number, ImagePositionPatient=moved)
    return folder, VOXELS


def _frame_of(path: Path, **more: Any) -> Made:
    one_slice(path, VOXELS[2], 2, **more)
    return path, VOXELS[2:3]


OTHERS: dict[str, tuple[Callable[[Path], Made], str]] = {
    "frames in order": (lambda d: _frames(d / "m.dcm", [0, 1, 2, 3, 4]), ""),
    "frames from the other end": (lambda d: _frames(d / "m.dcm", [4, 3, 2, 1, 0]), ""),
    "frames in any order": (lambda d: _frames(d / "m.dcm", [2, 0, 4, 1, 3]), ""),
    "a slope for each frame": (
        lambda d: (write_multiframe(d / "m.dcm", VOXELS, range(5), scales=[(2, n) for n in range(5)]),
                   VOXELS * 2 + np.arange(5)[:, None, None]), ""),
    "two phases in one file": (
        lambda d: (write_multiframe(d / "m.dcm", np.concatenate([VOXELS, VOXELS + 40]), [*range(5)] * 2,
                                    [0] * 5 + [1] * 5), VOXELS), "0020,9128"),
    "two time points": (lambda d: two(d / "m.dcm", content(TemporalPositionIndex=(1, 2))), "0020,9128"),
    "two stacks at one place": (lambda d: two(d / "m.dcm", content(StackID=("1", "2"))), "0020,9056"),
    "two stacks across each other": (lambda d: _stacks(d / "m.dcm"), "5 slices of m.dcm differ from its first"),
    "two echoes": (lambda d: two(d / "m.dcm", _group("MREchoSequence", EffectiveEchoTime=(10.0, 20.0))), "0018,9082"),
    "two weights of diffusion": (
        lambda d: two(d / "m.dcm", _group("MRDiffusionSequence", DiffusionBValue=(0.0, 800.0))), "0018,9087"),
    "magnitude and phase in one file": (
        lambda d: two(d / "m.dcm", _group("MRImageFrameTypeSequence", FrameType=(["M"], ["M"]),
                                           ComplexImageComponent=("MAGNITUDE", "PHASE"))), "0008,9208"),
    "two offsets in time": (
        lambda d: two(d / "m.dcm", _group("TemporalPositionSequence", TemporalPositionTimeOffset=(0.0, 1.5))),
        "0020,930d"),
    "what only the dimensions tell": (
        lambda d: two(d / "m.dcm", content(DimensionIndexValues=([1, 7], [2, 7]))), "0020,9157) value 1 = 1"),
    "a frame that is missing": (
        lambda d: (write_multiframe(d / "m.dcm", VOXELS[[0, 1, 3, 4]], [0, 1, 3, 4]), VOXELS[[0, 1, 3, 4]]),
        "not evenly spaced"),
    "a single slice": (lambda d: _frame_of(d / "a.dcm"), "single slice"),
    "two slabs, far apart": (
        lambda d: (_gap(d / "s", [0, 1, 2, 40, 41])[0], VOXELS[:3]), "lie up to 95 mm apart; used the largest, 3 of 5"),
    "a slice that is missing": (lambda d: _gap(d / "s", [0, 1, 2, 4]), "not evenly spaced"),
    "two slices that are missing": (lambda d: _gap(d / "s", [0, 2, 3, 5]), "off their position"),
    "every second slice": (lambda d: _gap(d / "s", [0, 2, 4]), ""),
    "a tilted gantry": (lambda d: _tilted(d / "s", 0.7), "tilted"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_places(tmp_path: Path, name: str) -> None:
    make, told = OTHERS[name]
    path, values = make(tmp_path)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.voxels, values)
    assert told in "".join(volume.warnings) and bool(told) == bool(volume.warnings), volume.warnings


def _radiograph(folder: Path) -> Path:
    dataset = header("1.2.840.10008.5.1.4.1.1.1.1", "DX")
    return save(dataset, folder / "x.dcm", VOXELS[0]).parent


def _cut(folder: Path) -> Path:
    write_series(folder, VOXELS)
    path = folder / "002.dcm"
    path.write_bytes(path.read_bytes()[:-60])
    return folder


def _same_place(folder: Path) -> Path:
    for number, plane in enumerate(VOXELS):
        one_slice(folder / f"{number}.dcm", plane, 0, SliceThickness=2.5)
    return folder


def _object(folder: Path, sop_class: str, modality: str) -> Path:
    save(header(sop_class, modality), folder / "o.dcm")
    return folder


def _film(folder: Path) -> Path:
    jpeg_2000(folder, box=False)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
        dataset.save_as(path)
    return folder


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "captures that say where they lie": (
        lambda d: changed(d, set_to(SOPClassUID=CAPTURE, Modality="OT"))[0], "5 x secondary capture"),
    "a private kind": (
        lambda d: changed(d, set_to(SOPClassUID="1.3.46.670589.11.0.0.12.1"))[0], "5 x 1.3.46.670589"),
    "an ultrasound of slices": (
        lambda d: changed(d, set_to(SOPClassUID=STORAGE + "6.1", Modality="US"))[0], "5 x Ultrasound Image"),
    "a radiograph": (_radiograph, "no DICOM image that can be a volume"),
    "a structure set": (lambda d: _object(d, STORAGE + "481.3", "RTSTRUCT"), "RTSTRUCT"),
    "a plan": (lambda d: _object(d, STORAGE + "481.5", "RTPLAN"), "RTPLAN"),
    "a report": (lambda d: _object(d, STORAGE + "88.33", "SR"), "SR"),
    "a presentation state": (lambda d: _object(d, STORAGE + "11.1", "PR"), "PR"),
    "a PDF": (lambda d: _object(d, STORAGE + "104.1", "DOC"), "PDF"),
    "constant": (lambda d: write_series(d, np.zeros_like(VOXELS)), "constant"),
    "a slice that is cut off": (_cut, "002.dcm"),
    "one whose name is no UTF-8": (
        lambda d: (_cut(d), (d / "002.dcm").rename(d / os.fsdecode(b"\xff.dcm")), d)[2], "\ufffd.dcm cannot be read"),
    "slices at one place": (_same_place, "same position"),
    "a slope of 0": (lambda d: write_series(d, VOXELS, RescaleSlope=0), "slope"),
    "a spacing of 0": (lambda d: write_series(d, VOXELS, PixelSpacing=[0, 0]), "spacing"),
    "an orientation of zeros": (lambda d: write_series(d, VOXELS, ImageOrientationPatient=[0] * 6), "orientation"),
    "axes that are not perpendicular": (
        lambda d: write_series(d, VOXELS, ImageOrientationPatient=[1, 0, 0, 0.3, 0.8, 0.52]), "perpendicular"),
    "no rows": (lambda d: changed(d, set_to(Rows=0))[0], "0 rows"),
    "a mosaic": (
        lambda d: write_series(d, VOXELS, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "mosaic.*dcm2niix"),
    "images without a place": (
        lambda d: changed(d, set_to(ImagePositionPatient=None))[0], "5 DICOM images that do not state their position"),
    "a frame without a place": (
        lambda d: two(d / "m.dcm", _nowhere)[0].parent, "5 of its frames have no position"),
    "projections of a gamma camera": (
        lambda d: changed(d, set_to(SOPClassUID=STORAGE + "20", ImageType=["DERIVED", "PRIMARY", "TOMO"]))[0],
        "5 x projection of a gamma camera"),
    "a class that is no number": (
        lambda d: changed(d, set_to(SOPClassUID="x" * 1999, ImagePositionPatient=None))[0], r"only 5 x CT\."),
    "an image of radiotherapy": (
        lambda d: changed(d, set_to(SOPClassUID=STORAGE + "481.1", Modality="RTIMAGE"))[0], "RT Image Storage"),
    "slices that are packed one by one": (lambda d: _packed(d), "Unpack it"),
    "a Zarr store": (lambda d: _text(d / "0" / ".zarray"), "is a Zarr store"),
    "other volumes": (lambda d: _text(d / "a.nii.gz"), r"other files \(.nii.gz\)"),
    "more descriptions than frames": (
        lambda d: two(d / "m.dcm", content(), NumberOfFrames=4)[0].parent, "4 frames, but 10 descriptions"),
    "nothing that tells images apart": (lambda d: two(d / "m.dcm", content())[0].parent, "same position"),
    "a film": (lambda d: _film(d), "compression is MPEG-4"),
    "pictures": (lambda d: (_text(d / "0.tif"), _text(d / "1.tif"), _text(d / "2.tif"))[0], r"3 \.tif.*ImageStacks"),
    "an empty folder": (lambda d: (d.mkdir(), d)[1], "empty"),
}  # fmt: skip


def _nowhere(groups: pydicom.Dataset, which: int) -> None:
    if which:
        del groups.PlanePositionSequence


def _packed(folder: Path) -> Path:
    write_series(folder, VOXELS)
    for path in list(folder.iterdir()):
        path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def _text(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path.parents[1] if path.name == ".zarray" else path.parent


@pytest.mark.parametrize("name", WRONG)
def test_refusals(tmp_path: Path, name: str) -> None:
    make, word = WRONG[name]
    folder = make(tmp_path / "series")
    with pytest.raises(BadInputError, match=word) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value).encode()) < 600


@pytest.mark.parametrize("against", [False, True])
@pytest.mark.parametrize("gates", [1, 2])
def test_what_the_detector_of_nuclear_medicine_says(tmp_path: Path, against: bool, gates: int) -> None:
    """Frames without functional groups: the first one's position and a step, which may point against the normal."""
    dataset = header(STORAGE + "20", "NM", NumberOfFrames=5 * gates, PixelSpacing=[SPACING[1], SPACING[0]])
    dataset.SpacingBetweenSlices = -SPACING[2] if against else SPACING[2]
    rows = pydicom.dcmread(one_slice(tmp_path / "t.dcm", VOXELS[0], 0)).ImageOrientationPatient
    dataset.DetectorInformationSequence = [
        item(ImagePositionPatient=place(4 if against else 0), ImageOrientationPatient=rows)
    ]
    frames = VOXELS[::-1] if against else VOXELS
    if gates > 1:
        dataset.SliceVector, dataset.TimeSlotVector = [*range(1, 6)] * 2, [1] * 5 + [2] * 5
        frames = np.concatenate([frames, frames + 40])
    volume = read_volume(save(dataset, tmp_path / "nm" / "a.dcm", frames))
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.geometry.spacing, SPACING, atol=1e-3)
    np.testing.assert_allclose(volume.geometry.origin, place(0), atol=1e-3)
    assert volume.modality == "NM" and CT != MR
    assert ["0054,0070" in told for told in volume.warnings] == [True] * (gates - 1)
