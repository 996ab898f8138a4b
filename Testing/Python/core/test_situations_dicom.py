"""One situation a row: what a DICOM folder or file can be, and the right result or the refusal in one line."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from core.dicom_files import (
    CAPTURE,
    CT,
    MR,
    NORMAL,
    PET,
    SPACING,
    header,
    item,
    place,
    save,
    write_multiframe,
    write_series,
)
from core.dicom_files import write_slice as one_slice
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import read_volume

STORAGE = "1.2.840.10008.5.1.4.1.1."
VOXELS = np.random.default_rng(0).integers(-900, 900, (5, 7, 9)).astype(np.int16)
STORED = (VOXELS + 1000).astype(np.uint16)
Made = tuple[Path, np.ndarray]


def every(folder: Path, change: Callable[[pydicom.Dataset, int], None], voxels: np.ndarray) -> None:
    """A series whose datasets are changed one by one before they are written again."""
    write_series(folder, voxels)
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        change(dataset, number)
        dataset.save_as(path, enforce_file_format=True)


def _syntax(folder: Path, syntax: str) -> Made:
    write_series(folder, VOXELS)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if syntax in (RLELossless, JPEGLSLossless):
            dataset.compress(syntax)
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
            dataset = pydicom.Dataset(dataset)
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, dataset, little_endian=False, implicit_vr=False)
            continue
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, enforce_file_format=True)
    return folder, VOXELS


def _last(folder: Path, **values: Any) -> Made:
    """The last slice is changed, and left out."""
    return _changed(folder, lambda data, n: _set(**values)(data, n) if n == 4 else None, VOXELS[:4])


def _named(folder: Path, name: Callable[[int], str]) -> Made:
    write_series(folder, VOXELS, [f"t{number}" for number in range(5)])
    for number in range(5):
        path = folder / name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / f"t{number}.dcm").rename(path)
    return folder, VOXELS


def _no_preamble(folder: Path) -> Made:
    write_series(folder, VOXELS)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        plain = pydicom.Dataset(dataset)
        pydicom.dcmwrite(path, plain, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return folder, VOXELS


def _changed(
    folder: Path,
    change: Callable[[pydicom.Dataset, int], None],
    values: np.ndarray = VOXELS,
    stored: np.ndarray = VOXELS,
) -> Made:
    every(folder, change, stored)
    return folder, values


def _beside(folder: Path, add: Callable[[Path], object]) -> Made:
    write_series(folder, VOXELS)
    add(folder)
    return folder, VOXELS


def _slopes(folder: Path, intercept: float = 0.0) -> Made:
    slopes = [0.5, 1.25, 2.0, 3.5, 0.25]
    for number, plane in enumerate(VOXELS):
        one_slice(folder / f"{number}.dcm", plane, number, PET, "PT", RescaleSlope=slopes[number],
                  RescaleIntercept=intercept)  # fmt: skip
    return folder, VOXELS * np.array(slopes)[:, None, None] + intercept


def _eight_bits(dataset: pydicom.Dataset, number: int) -> None:
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = (VOXELS[number] % 256).astype(np.uint8).tobytes() + b"\0"
    dataset["PixelData"].VR = "OB"


def _bits(folder: Path, signed: bool = False, shift: int = 0, above: int = 0) -> Made:
    """12 bits of 16, `shift` bits above the lowest, and others (`above`) where none of the pixel's are."""
    write_series(folder, VOXELS)
    values = VOXELS if signed else VOXELS + 1000
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11 + shift, int(signed)
        stored = ((values[number].astype(np.int32) & 0xFFF) << shift) | above
        dataset.PixelData = stored.astype("<u2").tobytes()
        dataset.save_as(path)
    return folder, values


def _table(dataset: pydicom.Dataset, number: int) -> None:
    """Values by a table, in place of slope and intercept."""
    table = item(
        LUTDescriptor=[2048, 0, 16], ModalityLUTType="US", LUTData=(np.arange(2048, dtype="<u2") * 3).tobytes()
    )
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    dataset.ModalityLUTSequence = [table]


def _jpeg_2000(folder: Path, box: bool) -> Made:
    """Without loss, in a JP2 file's boxes or not. Smooth, as Pillow makes it of few pixels wrongly otherwise."""
    values = np.add.outer(np.add.outer(np.arange(5) * 30, np.arange(32) * 20), np.arange(40) * 10).astype(np.uint16)
    write_series(folder, values)
    for path in folder.iterdir():
        dataset, stream = pydicom.dcmread(path), io.BytesIO()
        Image.fromarray(dataset.pixel_array).save(stream, "JPEG2000", irreversible=False, no_jp2=not box)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.save_as(path)
    return folder, values


def _set(**values: Any) -> Callable[[pydicom.Dataset, int], None]:
    def change(dataset: pydicom.Dataset, number: int) -> None:
        for name, value in values.items():
            if value is None:
                del dataset[name]
            else:
                setattr(dataset, name, value)

    return change


def _second_series(folder: Path) -> None:
    write_series(folder / "other", VOXELS[:3] + 1, SeriesInstanceUID=generate_uid(), SeriesDescription="scout")


def _localiser(folder: Path) -> None:
    for number in range(2):
        one_slice(
            folder / f"scout{number}.dcm",
            VOXELS[0],
            number,
            SeriesInstanceUID=generate_uid(),
            ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )


def _phases(folder: Path, **tags: list[Any]) -> Made:
    """Two phases; that of the first value is the one with the given voxels."""
    for phase in range(2):
        for number, plane in enumerate(VOXELS + 40 * phase):
            own = {name: values[phase] for name, values in tags.items()}
            one_slice(folder / f"{phase}{number}.dcm", plane, number, MR, "MR", **own)
    return folder, VOXELS


def _dicomdir(folder: Path) -> None:
    dataset = header("1.2.840.10008.1.3.10", "")
    del dataset.Modality
    save(dataset, folder / "DICOMDIR")


RIGHT: dict[str, tuple[Callable[[Path], Made], str]] = {
    "implicit VR": (lambda d: _syntax(d, ImplicitVRLittleEndian), ""),
    "deflated": (lambda d: _syntax(d, DeflatedExplicitVRLittleEndian), ""),
    "big endian": (lambda d: _syntax(d, ExplicitVRBigEndian), ""),
    "RLE": (lambda d: _syntax(d, RLELossless), ""),
    "neither preamble nor meta header": (_no_preamble, ""),
    "no suffix": (lambda d: _named(d, lambda n: f"I{n:05d}"), ""),
    "suffix .ima in capitals": (lambda d: _named(d, lambda n: f"X.{n}.IMA"), ""),
    "names that are UIDs": (lambda d: _named(d, lambda n: f"1.2.840.{n}"), ""),
    "a folder for each slice": (lambda d: _named(d, lambda n: f"s {n}/I.dcm"), ""),
    "names with words of other languages": (lambda d: _named(d, lambda n: f"Größe π {n}.dcm"), ""),
    "unsigned with an intercept": (
        lambda d: (write_series(d, STORED, RescaleIntercept=-1000, RescaleSlope=1), VOXELS), ""),
    "a slope for each slice": (_slopes, ""),
    "slopes and an intercept": (lambda d: _slopes(d, -3.0), ""),
    "12 of 16 bits": (lambda d: _changed(d, _set(BitsStored=12, HighBit=11), STORED, STORED), ""),
    "8 bits": (lambda d: _changed(d, _eight_bits, VOXELS % 256), ""),
    "12 bits, signed": (lambda d: _bits(d, signed=True), ""),
    "12 bits, an overlay in the others": (lambda d: _bits(d, above=0xA000), ""),
    "12 bits, signed, an overlay in the others": (lambda d: _bits(d, signed=True, above=0xA000), ""),
    "12 bits, the upper ones": (lambda d: _bits(d, shift=4), ""),
    "12 bits, signed, the upper ones": (lambda d: _bits(d, signed=True, shift=4), ""),
    "a table of values": (lambda d: _changed(d, _table, STORED.astype(np.int32) * 3, STORED), ""),
    "JPEG 2000": (lambda d: _jpeg_2000(d, box=False), ""),
    "JPEG 2000 in boxes": (lambda d: _jpeg_2000(d, box=True), ""),
    "JPEG-LS": (lambda d: _syntax(d, JPEGLSLossless), ""),
    "MONOCHROME1 keeps its numbers": (
        lambda d: _changed(d, _set(PhotometricInterpretation="MONOCHROME1")), ""),
    "padding that is named": (lambda d: _changed(d, lambda data, n: data.add_new(0x00280120, "SS", -2000)), ""),
    "no modality": (lambda d: _changed(d, _set(Modality=None)), ""),
    "no instance number": (lambda d: _changed(d, _set(InstanceNumber=None)), ""),
    "instance numbers that are all the same": (lambda d: _changed(d, _set(InstanceNumber=1)), ""),
    "no thickness": (lambda d: _changed(d, _set(SliceThickness=None)), ""),
    "a thickness that is another": (lambda d: _changed(d, _set(SliceThickness=7.5)), ""),
    "an empty slope": (lambda d: _changed(d, _set(RescaleSlope="", RescaleIntercept="")), ""),
    "a type that is one of nuclear medicine's": (
        lambda d: _changed(d, _set(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "DYNAMIC"])), ""),
    "blank UIDs": (lambda d: _changed(d, _set(SOPInstanceUID="", SeriesInstanceUID="", StudyInstanceUID="")), ""),
    "one instance UID for all": (lambda d: _changed(d, _set(SOPInstanceUID="1.2.3")), ""),
    "private tags": (lambda d: _changed(d, lambda data, n: data.add_new(0x00091001, "LO", "x" * 60)), ""),
    "a patient's name in Latin 1": (
        lambda d: _changed(d, _set(SpecificCharacterSet="ISO_IR 100", PatientName="Grün^Ü")), ""),
    "a character set that is none": (lambda d: _changed(d, _set(SpecificCharacterSet="NONE")), ""),
    "a spacing that is no decimal string": (
        lambda d: _changed(d, lambda data, n: data.__setattr__("PixelSpacing", ["0.75000000000", "1.50000"])), ""),
    "another series beside it": (lambda d: _beside(d, _second_series), "several DICOM series"),
    "localisers beside it": (lambda d: _beside(d, _localiser), "several DICOM series"),
    "a DICOMDIR beside it": (lambda d: _beside(d, _dicomdir), ""),
    "text files beside it": (lambda d: _beside(d, lambda f: (f / "README.txt").write_text("II*")), ""),
    "an empty file beside it": (lambda d: _beside(d, lambda f: (f / "empty.dcm").touch()), "no DICOM: 1, such as e"),
    "a file of zeros beside it": (
        lambda d: _beside(d, lambda f: (f / "z.dcm").write_bytes(bytes(2000))), "no DICOM: 1, such as z.dcm"),
    "one whose name is no UTF-8": (
        lambda d: _beside(d, lambda f: (f / os.fsdecode(b"\xff.dcm")).touch()), "no DICOM: 1, such as \ufffd.dcm"),
    "a slice cut in its header": (
        lambda d: (_beside(d, lambda f: os.truncate(f / "004.dcm", 300))[0], VOXELS[:4]), "no DICOM: 1, such as 0"),
    "a slice without a place": (lambda d: _last(d, ImagePositionPatient=None), "were left out: 1"),
    "a slice without a pixel size": (lambda d: _last(d, PixelSpacing=None), "were left out: 1"),
    "a slice of another pixel size": (lambda d: _last(d, PixelSpacing=[0.8, 1.5]), "size, direction or pixels"),
    "names that are no UTF-8": (lambda d: _named(d, lambda n: os.fsdecode(b"\xff\xe9%d.dcm" % n)), ""),
    "a link to its own folder": (lambda d: _beside(d, lambda f: (f / "loop").symlink_to(f)), ""),
    "a link to nothing beside it": (lambda d: _beside(d, lambda f: (f / "x.dcm").symlink_to(f / "gone")), ""),
    "a pipe beside it": (lambda d: _beside(d, lambda f: os.mkfifo(f / "pipe.dcm")), ""),
    "files that macOS leaves": (lambda d: _beside(d, lambda f: (f / "._000.dcm").write_bytes(b"\0\5\26\7" * 50)), ""),
    "echo numbers": (lambda d: _phases(d, EchoNumbers=[1, 2]), "0018,0086"),
    "echo times": (lambda d: _phases(d, EchoTime=[2.4, 4.9]), "0018,0081"),
    "time points": (lambda d: _phases(d, TemporalPositionIdentifier=[1, 2]), "0020,0100"),
    "acquisitions": (lambda d: _phases(d, AcquisitionNumber=[1, 2]), "0020,0012"),
    "trigger times": (lambda d: _phases(d, TriggerTime=[0, 300]), "0018,1060"),
    "magnitude and phase": (
        lambda d: _phases(d, ImageType=[["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]), "0008,0008"),
    "diffusion": (lambda d: _phases(d, DiffusionBValue=[0.0, 800.0]), "0018,9087"),
    "times of acquisition": (lambda d: _phases(d, AcquisitionTime=["101010", "101020"]), "0008,0032"),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right(tmp_path: Path, name: str) -> None:
    make, told = RIGHT[name]
    folder, values = make(tmp_path / "series")
    volume = read_volume(folder)
    np.testing.assert_allclose(volume.voxels, values, rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.origin, place(0), atol=1e-3)
    np.testing.assert_allclose(volume.geometry.spacing, SPACING, atol=1e-3)
    np.testing.assert_allclose(np.reshape(volume.geometry.direction, (3, 3))[:, 2], NORMAL, atol=1e-4)
    assert told in "".join(volume.warnings) and bool(told) == bool(volume.warnings), volume.warnings


def _frames(path: Path, order: list[int], **more: Any) -> Made:
    write_multiframe(path, VOXELS[order], order, **more)
    return path, VOXELS


Change = Callable[[pydicom.Dataset, int], None]


def _two(path: Path, change: Change, **more: Any) -> Made:
    """Two images at each place, which `change` tells apart: it gets each frame's groups and 0 or 1."""
    write_multiframe(path, np.concatenate([VOXELS, VOXELS + 40]), [*range(5)] * 2)
    dataset = pydicom.dcmread(path)
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        change(groups, number // 5)
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path, VOXELS


def _content(**values: tuple[Any, Any]) -> Change:
    def change(groups: pydicom.Dataset, which: int) -> None:
        for name, both in values.items():
            setattr(groups.FrameContentSequence[0], name, both[which])

    return change


def _group(sequence: str, **values: tuple[Any, Any]) -> Change:
    def change(groups: pydicom.Dataset, which: int) -> None:
        setattr(groups, sequence, [item(**{name: both[which] for name, both in values.items()})])

    return change


def _stacks(path: Path) -> Made:
    """A second stack across the first, in the same file."""
    made = _two(path, _content(StackID=("1", "2")))
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
    "two time points": (lambda d: _two(d / "m.dcm", _content(TemporalPositionIndex=(1, 2))), "0020,9128"),
    "two stacks at one place": (lambda d: _two(d / "m.dcm", _content(StackID=("1", "2"))), "0020,9056"),
    "two stacks across each other": (lambda d: _stacks(d / "m.dcm"), "5 slices of m.dcm lie otherwise"),
    "two echoes": (lambda d: _two(d / "m.dcm", _group("MREchoSequence", EffectiveEchoTime=(10.0, 20.0))), "0018,9082"),
    "two weights of diffusion": (
        lambda d: _two(d / "m.dcm", _group("MRDiffusionSequence", DiffusionBValue=(0.0, 800.0))), "0018,9087"),
    "magnitude and phase in one file": (
        lambda d: _two(d / "m.dcm", _group("MRImageFrameTypeSequence", FrameType=(["M"], ["M"]),
                                           ComplexImageComponent=("MAGNITUDE", "PHASE"))), "0008,9208"),
    "two offsets in time": (
        lambda d: _two(d / "m.dcm", _group("TemporalPositionSequence", TemporalPositionTimeOffset=(0.0, 1.5))),
        "0020,930d"),
    "what only the dimensions tell": (
        lambda d: _two(d / "m.dcm", _content(DimensionIndexValues=([1, 7], [2, 7]))), "0020,9157) value 1 = 1"),
    "a frame that is missing": (
        lambda d: (write_multiframe(d / "m.dcm", VOXELS[[0, 1, 3, 4]], [0, 1, 3, 4]), VOXELS[[0, 1, 3, 4]]),
        "not evenly spaced"),
    "a single slice": (lambda d: _frame_of(d / "a.dcm"), "single slice"),
    "two slabs, far apart": (
        lambda d: (_gap(d / "s", [0, 1, 2, 40, 41])[0], VOXELS[:3]), "lie up to 95 mm apart; used the largest, 3 of 5"),
    "a slice that is missing": (lambda d: _gap(d / "s", [0, 1, 2, 4]), "not evenly spaced"),
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
    _jpeg_2000(folder, box=False)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
        dataset.save_as(path)
    return folder


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "captures that say where they lie": (
        lambda d: _changed(d, _set(SOPClassUID=CAPTURE, Modality="OT"))[0], "5 x secondary capture"),
    "a private kind": (
        lambda d: _changed(d, _set(SOPClassUID="1.3.46.670589.11.0.0.12.1"))[0], "5 x 1.3.46.670589"),
    "an ultrasound of slices": (
        lambda d: _changed(d, _set(SOPClassUID=STORAGE + "6.1", Modality="US"))[0], "5 x Ultrasound Image"),
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
    "no rows": (lambda d: _changed(d, _set(Rows=0))[0], "0 rows"),
    "a mosaic": (
        lambda d: write_series(d, VOXELS, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "mosaic.*dcm2niix"),
    "images without a place": (
        lambda d: _changed(d, _set(ImagePositionPatient=None))[0], "5 DICOM images that do not say where they lie"),
    "a frame without a place": (
        lambda d: _two(d / "m.dcm", _nowhere)[0].parent, "5 of its frames do not say where they lie"),
    "projections of a gamma camera": (
        lambda d: _changed(d, _set(SOPClassUID=STORAGE + "20", ImageType=["DERIVED", "PRIMARY", "TOMO"]))[0],
        "5 x projection of a gamma camera"),
    "a class that is no number": (
        lambda d: _changed(d, _set(SOPClassUID="x" * 1999, ImagePositionPatient=None))[0], r"only 5 x CT\."),
    "an image of radiotherapy": (
        lambda d: _changed(d, _set(SOPClassUID=STORAGE + "481.1", Modality="RTIMAGE"))[0], "RT Image Storage"),
    "slices that are packed one by one": (lambda d: _packed(d), "Unpack it"),
    "a Zarr store": (lambda d: _text(d / "0" / ".zarray"), "is a Zarr store"),
    "other volumes": (lambda d: _text(d / "a.nii.gz"), r"other files \(.nii.gz\)"),
    "more descriptions than frames": (
        lambda d: _two(d / "m.dcm", _content(), NumberOfFrames=4)[0].parent, "4 frames, but 10 descriptions"),
    "nothing that tells images apart": (lambda d: _two(d / "m.dcm", _content())[0].parent, "same position"),
    "a film": (lambda d: _film(d), "compression is MPEG-4"),
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
    path.parent.mkdir(parents=True)
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
    """Frames without functional groups: the place of the first and a step, which may lead against the normal."""
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
