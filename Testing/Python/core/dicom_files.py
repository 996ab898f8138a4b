"""DICOM files for tests, written with pydicom: classic slices and enhanced multi-frame objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, MR, PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
ENHANCED_CT, DOSE = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.481.2"
STRUCTURES, CAPTURE = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.7"
SERIES, STUDY, SPACE = generate_uid(), generate_uid(), generate_uid()
SPACING, ORIGIN = (1.5, 0.75, 2.5), np.array([-20.0, 11.0, -300.5])
AXES = np.array([[1.0, 0, 0], [0, 0.8, 0.6]])
"""Along a row, down a column; slices are stacked along the cross product."""
NORMAL = np.cross(*AXES)


def place(index: float) -> list[float]:
    """Return the position of slice `index` of the grid that all these files share."""
    return (ORIGIN + NORMAL * SPACING[2] * index).tolist()


def header(sop_class: str, modality: str, **more: Any) -> Dataset:
    """Return a dataset with patient, study and series; `more` sets attributes."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, generate_uid(), modality
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Test^P", "7", "", ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, SERIES, SPACE
    dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "1", "", "", ""
    for name, value in more.items():
        setattr(dataset, name, value)
    return dataset


def save(dataset: Dataset, path: Path, pixels: np.ndarray | None = None) -> Path:
    """Write a dataset, with pixels (rows, columns) or (frames, rows, columns) of 16 bits."""
    if pixels is not None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = pixels.shape[-2:]
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_slice(
    path: Path, pixels: np.ndarray, index: float, sop_class: str = CT, modality: str = "CT", **more: Any
) -> Path:
    """Write a classic slice at position `index`."""
    where = {"ImagePositionPatient": place(index), "ImageOrientationPatient": AXES.ravel().tolist()}
    size = {"PixelSpacing": [SPACING[1], SPACING[0]], "SliceThickness": SPACING[2]}
    return save(
        header(sop_class, modality, **{"InstanceNumber": int(index) + 1, **where, **size, **more}), path, pixels
    )


def write_series(folder: Path, voxels: np.ndarray, names: Sequence[str] = (), **more: Any) -> Path:
    """Write a classic series, one file for each slice of (K, J, I); `names` determine the files' order."""
    for index, plane in enumerate(voxels):
        name = names[index] if names else f"{index:03d}"
        write_slice(folder / f"{name}.dcm", plane, index, **more)
    return folder


def item(**values: Any) -> Dataset:
    """Return an item of a sequence."""
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def write_multiframe(
    path: Path,
    frames: np.ndarray,
    indices: Sequence[float],
    phases: Sequence[int] = (),
    scales: Sequence[tuple[float, float]] = (),
) -> Path:
    """Write an enhanced CT with a frame for each of `indices`; frames (F, J, I) are stored as they are."""
    dataset = header(ENHANCED_CT, "CT", NumberOfFrames=len(frames), ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    measures = item(PixelSpacing=[SPACING[1], SPACING[0]], SliceThickness=SPACING[2])
    orientation = item(ImageOrientationPatient=AXES.ravel().tolist())
    dataset.SharedFunctionalGroupsSequence = [
        item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])
    ]
    groups = []
    for number, index in enumerate(indices):
        content = item(TemporalPositionIndex=1 + (phases[number] if phases else 0))
        group = item(PlanePositionSequence=[item(ImagePositionPatient=place(index))], FrameContentSequence=[content])
        slope, intercept = scales[number] if scales else (1, 0)
        scale = item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
        group.PixelValueTransformationSequence = [scale]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    return save(dataset, path, frames)
