"""One situation per row: what a DICOM folder's slices can look like, and the right result."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from core.dicom_changes import STORED, VOXELS, Made, changed, jpeg_2000, set_to
from core.dicom_files import MR, NORMAL, PET, SPACING, header, item, place, save, write_series
from core.dicom_files import write_slice as one_slice
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from FewShotSAMLib.core.volume import read_volume


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
    """The last slice is changed, so that it is left out."""
    return changed(folder, lambda data, n: set_to(**values)(data, n) if n == 4 else None, VOXELS[:4])


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
    """12 bits of 16, `shift` bits above the lowest, and others (`above`) in the bits outside the pixel's value."""
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
    """Values by a lookup table, instead of slope and intercept."""
    table = item(
        LUTDescriptor=[2048, 0, 16], ModalityLUTType="US", LUTData=(np.arange(2048, dtype="<u2") * 3).tobytes()
    )
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    dataset.ModalityLUTSequence = [table]


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
    "12 of 16 bits": (lambda d: changed(d, set_to(BitsStored=12, HighBit=11), STORED, STORED), ""),
    "8 bits": (lambda d: changed(d, _eight_bits, VOXELS % 256), ""),
    "12 bits, signed": (lambda d: _bits(d, signed=True), ""),
    "12 bits, an overlay in the others": (lambda d: _bits(d, above=0xA000), ""),
    "12 bits, signed, an overlay in the others": (lambda d: _bits(d, signed=True, above=0xA000), ""),
    "12 bits, the upper ones": (lambda d: _bits(d, shift=4), ""),
    "12 bits, signed, the upper ones": (lambda d: _bits(d, signed=True, shift=4), ""),
    "a table of values": (lambda d: changed(d, _table, STORED.astype(np.int32) * 3, STORED), ""),
    "JPEG 2000": (lambda d: jpeg_2000(d, box=False), ""),
    "JPEG 2000 in boxes": (lambda d: jpeg_2000(d, box=True), ""),
    "JPEG-LS": (lambda d: _syntax(d, JPEGLSLossless), ""),
    "MONOCHROME1 keeps its numbers": (
        lambda d: changed(d, set_to(PhotometricInterpretation="MONOCHROME1")), ""),
    "padding that is named": (lambda d: changed(d, lambda data, n: data.add_new(0x00280120, "SS", -2000)), ""),
    "no modality": (lambda d: changed(d, set_to(Modality=None)), ""),
    "no instance number": (lambda d: changed(d, set_to(InstanceNumber=None)), ""),
    "instance numbers that are all the same": (lambda d: changed(d, set_to(InstanceNumber=1)), ""),
    "no thickness": (lambda d: changed(d, set_to(SliceThickness=None)), ""),
    "a thickness that is another": (lambda d: changed(d, set_to(SliceThickness=7.5)), ""),
    "an empty slope": (lambda d: changed(d, set_to(RescaleSlope="", RescaleIntercept="")), ""),
    "a type that is one of nuclear medicine's": (
        lambda d: changed(d, set_to(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "DYNAMIC"])), ""),
    "blank UIDs": (lambda d: changed(d, set_to(SOPInstanceUID="", SeriesInstanceUID="", StudyInstanceUID="")), ""),
    "one instance UID for all": (lambda d: changed(d, set_to(SOPInstanceUID="1.2.3")), ""),
    "private tags": (lambda d: changed(d, lambda data, n: data.add_new(0x00091001, "LO", "x" * 60)), ""),
    "a patient's name in Latin 1": (
        lambda d: changed(d, set_to(SpecificCharacterSet="ISO_IR 100", PatientName="Grün^Ü")), ""),
    "a character set that is none": (lambda d: changed(d, set_to(SpecificCharacterSet="NONE")), ""),
    "a spacing that is no decimal string": (
        lambda d: changed(d, lambda data, n: data.__setattr__("PixelSpacing", ["0.75000000000", "1.50000"])), ""),
    "another series beside it": (lambda d: _beside(d, _second_series), "several DICOM series"),
    "localisers beside it": (lambda d: _beside(d, _localiser), "several DICOM series"),
    "a DICOMDIR beside it": (lambda d: _beside(d, _dicomdir), ""),
    "text files beside it": (lambda d: _beside(d, lambda f: (f / "README.txt").write_text("II*")), ""),
    "an empty file beside it": (lambda d: _beside(d, lambda f: (f / "empty.dcm").touch()), "not DICOM: 1, such as e"),
    "a file of zeros beside it": (
        lambda d: _beside(d, lambda f: (f / "z.dcm").write_bytes(bytes(2000))), "not DICOM: 1, such as z.dcm"),
    "one whose name is no UTF-8": (
        lambda d: _beside(d, lambda f: (f / os.fsdecode(b"\xff.dcm")).touch()), "not DICOM: 1, such as \ufffd.dcm"),
    "a slice cut in its header": (
        lambda d: (_beside(d, lambda f: os.truncate(f / "004.dcm", 300))[0], VOXELS[:4]), "not DICOM: 1, such as 0"),
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
