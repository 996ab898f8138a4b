"""DICOM segmentations: read frame by frame, written with their codes and references, and unchanged by a round trip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core import dicom_files as files

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.segmentation import (
    Segment,
    Segmentation,
    check_fits,
    place_on,
    read_segmentation,
    write_segmentation,
)
from FewShotSAMLib.core.volume import Volume, read_volume

LIVER = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)
KIDNEY = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~"
    "SCT^24028007^Right~Anatomic codes - DICOM master list~SCT^64033007^Kidney~SCT^24028007^Right"
)


@pytest.fixture(params=["classic", "enhanced"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    voxels = np.random.default_rng(0).integers(0, 1000, (6, 16, 24), dtype=np.int16)
    if request.param == "classic":
        files.write_series(tmp_path / "ct", voxels, list("fbdcea"))
    else:
        order = [3, 0, 5, 1, 4, 2]
        files.write_multiframe(tmp_path / "ct" / "all.dcm", voxels[order], order)
    return read_volume(tmp_path / "ct")


@pytest.fixture
def segmentation(volume: Volume) -> Segmentation:
    layers = np.zeros((2, *volume.geometry.shape), np.uint8)
    layers[0, 1, 2:6, 3:9] = layers[0, 4, 3:9, 1:20] = 7
    layers[1, 1, 4:8, 5:12] = 3
    segments = (
        Segment("a", "Leber ß 肝", (221 / 255, 130 / 255, 101 / 255), 7, 0, {"TerminologyEntry": LIVER}),
        Segment("b", "Niere", (0.0, 1.0, 0.0), 3, 1, {"TerminologyEntry": KIDNEY}),
    )
    return Segmentation(layers, volume.geometry, segments)


def test_round_trip(volume: Volume, segmentation: Segmentation, tmp_path: Path) -> None:
    path = tmp_path / "result.dcm"
    assert write_segmentation(segmentation, path, volume.source) == []
    again, warnings = place_on(read_segmentation(path), volume.geometry)
    assert warnings == [] and len(again.segments) == 2
    for ours, theirs in zip(segmentation.segments, again.segments, strict=True):
        assert np.array_equal(segmentation.mask(ours), again.mask(theirs))
        assert theirs.name == ours.name and theirs.tags["TerminologyEntry"] == ours.tags["TerminologyEntry"]
        assert theirs.color == pytest.approx(ours.color, abs=1.5 / 255)
        assert theirs.tags["TrackingIdentifier"] == ours.id
    assert again.fields["Segmentation_ReferencedSeriesInstanceUID"] == files.SERIES
    write_segmentation(again, tmp_path / "second.dcm", volume.source)
    third = read_segmentation(tmp_path / "second.dcm")
    assert [s.tags for s in third.segments] == [s.tags for s in again.segments]
    assert [s.color for s in third.segments] == [s.color for s in again.segments]


def test_it_refers_to_the_images_and_holds_only_frames_with_paint(
    volume: Volume, segmentation: Segmentation, tmp_path: Path
) -> None:
    write_segmentation(segmentation, tmp_path / "result.dcm", volume.source)
    dataset = pydicom.dcmread(tmp_path / "result.dcm")
    assert dataset.StudyInstanceUID == files.STUDY and dataset.FrameOfReferenceUID == files.SPACE
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == files.SERIES
    listed = {each.ReferencedSOPInstanceUID for each in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    used = {pydicom.dcmread(frame.path, stop_before_pixels=True).SOPInstanceUID for frame in volume.source}
    assert listed == used and dataset.NumberOfFrames == 3


def test_references_and_tracking_live_on_in_seg_nrrd(
    volume: Volume, segmentation: Segmentation, tmp_path: Path
) -> None:
    write_segmentation(segmentation, tmp_path / "a.dcm", volume.source)
    read = read_segmentation(tmp_path / "a.dcm")
    write_segmentation(read, tmp_path / "a.seg.nrrd", volume.source)
    again = read_segmentation(tmp_path / "a.seg.nrrd")
    assert [s.tags for s in again.segments] == [s.tags for s in read.segments]
    assert again.fields["Segmentation_ReferencedSeriesInstanceUID"] == files.SERIES


def test_frames_of_the_painted_slices_only(volume: Volume, segmentation: Segmentation, tmp_path: Path) -> None:
    """Without a stated slice distance, and with a thickness that differs from it."""
    write_segmentation(segmentation, tmp_path / "a.dcm", volume.source)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = 7.5  # the distance between slices 1 and 4
    del measures.SpacingBetweenSlices
    dataset.save_as(tmp_path / "b.dcm")
    read = read_segmentation(tmp_path / "b.dcm")
    assert read.geometry.size[2] == 2
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = 2.5
    dataset.save_as(tmp_path / "c.dcm")
    placed, _ = place_on(read_segmentation(tmp_path / "c.dcm"), volume.geometry)
    assert np.array_equal(placed.layers.any(axis=0), segmentation.layers.any(axis=0))


def test_what_cannot_be_a_dicom_result_is_told_before_the_work(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="this volume does not come from one"):
        check_fits(tmp_path / "a.dcm", volume.geometry, ())
    check_fits(tmp_path / "a.dcm", volume.geometry, volume.source)
    for name, value, word in (
        ("PatientBirthDate", "1.1.1970", "lacks what a DICOM segmentation needs, or states it wrongly"),
        ("FrameOfReferenceUID", "", "FrameOfReferenceUID is blank"),
        ("StudyInstanceUID", "", "StudyInstanceUID is blank"),
    ):
        for file in {frame.path for frame in volume.source}:
            dataset = pydicom.dcmread(file)
            with pydicom.config.disable_value_validation():
                setattr(dataset, name, value)
                dataset.save_as(file)
        with pytest.raises(BadInputError, match=word):
            check_fits(tmp_path / "a.dcm", volume.geometry, volume.source)


def test_an_empty_result_is_no_dicom_file(volume: Volume, segmentation: Segmentation, tmp_path: Path) -> None:
    empty = replace(segmentation, layers=segmentation.layers * 0)
    with pytest.raises(BadInputError, match="no voxel"):
        write_segmentation(empty, tmp_path / "a.dcm", volume.source)
    assert not (tmp_path / "a.dcm").exists()


def test_other_dicom_objects_are_no_annotation(tmp_path: Path) -> None:
    files.save(files.header(files.STRUCTURES, "RTSTRUCT"), tmp_path / "contours.dcm")
    with pytest.raises(BadInputError, match=r"RTSTRUCT.*SlicerRT"):
        read_segmentation(tmp_path / "contours.dcm")
    files.write_slice(tmp_path / "image.dcm", np.ones((4, 4), np.int16), 0)
    with pytest.raises(BadInputError, match="not a segmentation"):
        read_segmentation(tmp_path / "image.dcm")
