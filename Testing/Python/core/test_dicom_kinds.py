"""DICOM as hospitals have it: shuffled, duplicated, multi-phase, with slopes, split, mixed with other objects."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from core import dicom_files as files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import Volume, read_volume

SHAPE = (6, 7, 8)


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)


def check(volume: Volume, voxels: np.ndarray, first: float = 0.0) -> None:
    """Check that the volume has these voxels at the positions that the files give."""
    np.testing.assert_allclose(volume.voxels, voxels, rtol=1e-5)
    matrix = volume.geometry.index_to_physical()
    for k in (0, len(voxels) - 1):
        np.testing.assert_allclose((matrix @ [0, 0, k, 1])[:3], files.place(first + k), atol=1e-6)
    corner = files.ORIGIN + files.AXES[0] * files.SPACING[0] * 7 + files.AXES[1] * files.SPACING[1] * 6
    np.testing.assert_allclose((matrix @ [7, 6, -first, 1])[:3], corner, atol=1e-6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(6)),
    phases=st.integers(1, 3),
    slopes=st.booleans(),
    enhanced=st.booleans(),
    split=st.booleans(),
    signed=st.booleans(),
)
def test_any_order_phases_slopes_and_files(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    phases: int,
    slopes: bool,
    enhanced: bool,
    split: bool,
    signed: bool,
) -> None:
    """The result is the array that the files were made from, or one of several phases."""
    folder = tmp_path_factory.mktemp("series")
    stored = np.random.default_rng(1).integers(0, 900, (phases, *SHAPE)).astype(np.int16 if signed else np.uint16)
    scales = [(0.5 + 0.125 * k, 3.0 * k) if slopes else (1.0, 0.0) for k in range(6)]
    true = stored * np.array([slope for slope, _ in scales])[:, None, None]
    true = true + np.array([intercept for _, intercept in scales])[:, None, None]
    frames = [(phase, k) for phase in range(phases) for k in order]
    if enhanced:
        for number, part in enumerate((frames[:4], frames[4:]) if split else (frames,)):
            files.write_multiframe(
                folder / f"{number}.dcm",
                np.stack([stored[frame] for frame in part]),
                [k for _, k in part],
                [phase for phase, _ in part],
                [scales[k] for _, k in part],
            )
    else:
        for number, (phase, k) in enumerate(frames):
            scale = {"RescaleSlope": scales[k][0], "RescaleIntercept": scales[k][1]}
            path = folder / ("deep" if split and number % 2 else ".") / f"{number}.dcm"
            files.write_slice(path, stored[phase, k], k, AcquisitionNumber=phase + 1, **scale)
    volume = read_volume(folder)
    assert ("several images per position" in "".join(volume.warnings)) == (phases > 1)
    chosen = next(p for p in range(phases) if np.allclose(volume.voxels, true[p], rtol=1e-4))
    check(volume, true[chosen])
    assert volume.voxels.dtype == (np.float32 if slopes else np.int16)
    assert volume.modality == "CT" and len(volume.source) == 6


def test_a_series_that_lies_twice_in_the_folder(tmp_path: Path, voxels: np.ndarray) -> None:
    files.write_series(tmp_path, voxels)
    for file in list(tmp_path.iterdir()):
        (tmp_path / f"{file.stem} (1).dcm").write_bytes(file.read_bytes())
    volume = read_volume(tmp_path)
    check(volume, voxels)
    assert volume.warnings == ()


def test_orientation_that_trembles_is_one_stack(tmp_path: Path, voxels: np.ndarray) -> None:
    for index, plane in enumerate(voxels):
        angle = 0.0005 + (-1) ** index * 1e-6
        axes = [float(np.cos(angle)), float(np.sin(angle)), 0.0, -float(np.sin(angle)), float(np.cos(angle)), 0.0]
        position = [0.0, 0.0, 2.5 * index]
        files.write_slice(
            tmp_path / f"{index}.dcm", plane, index, ImageOrientationPatient=axes, ImagePositionPatient=position
        )
    assert read_volume(tmp_path).voxels.shape == SHAPE


def test_voxels_of_half_a_micrometre(tmp_path: Path, voxels: np.ndarray) -> None:
    for index, plane in enumerate(voxels):
        files.write_slice(
            tmp_path / f"{index}.dcm",
            plane,
            index,
            ImagePositionPatient=[0.0, 0.0, 0.0005 * index],
            ImageOrientationPatient=[1.0, 0, 0, 0, 1, 0],
            PixelSpacing=[0.0005, 0.0005],
            SliceThickness=0.0005,
        )
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.voxels, voxels) and volume.geometry.spacing == pytest.approx((0.0005,) * 3)


def test_the_largest_of_several_series_is_read(tmp_path: Path, voxels: np.ndarray) -> None:
    folder = files.write_series(tmp_path / "Größe", voxels, SeriesDescription="large")
    files.write_series(folder / "sub", voxels[:2], SeriesInstanceUID="1.2.4", SeriesDescription="small")
    volume = read_volume(folder)
    check(volume, voxels)
    assert volume.name == "Größe" and "'large' with 6 of 8" in volume.warnings[0]


def test_phases_of_which_one_has_a_slice_twice_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    for number, plane in enumerate([*voxels, *voxels[:2]]):
        place = number // 2 % 3
        files.write_slice(tmp_path / f"{number}.dcm", plane, place, AcquisitionNumber=1 + number % 2)
    with pytest.raises(BadInputError, match="same position"):
        read_volume(tmp_path)


def test_a_localiser_of_the_same_series_is_left_out(tmp_path: Path, voxels: np.ndarray) -> None:
    files.write_series(tmp_path, voxels)
    files.write_slice(tmp_path / "0-localiser.dcm", voxels[0], 0, ImageOrientationPatient=[0.0, 1, 0, 0, 0, -1])
    volume = read_volume(tmp_path)
    check(volume, voxels)
    assert "6 of 7" in volume.warnings[0]


def test_doses_captures_and_reports_are_no_volume(tmp_path: Path, voxels: np.ndarray) -> None:
    files.write_series(tmp_path / "ct", voxels)
    grid = np.random.default_rng(0).integers(0, 9, (30, 9, 9)).astype(np.uint16)
    place = {"ImagePositionPatient": files.place(0), "ImageOrientationPatient": files.AXES.ravel().tolist()}
    dose = files.header(files.DOSE, "RTDOSE", NumberOfFrames=30, PixelSpacing=[1, 1], **place)
    files.save(dose, tmp_path / "ct" / "dose.dcm", grid)
    for number in range(9):
        capture = files.header(files.CAPTURE, "OT", SeriesInstanceUID="1.2.9", PixelSpacing=[1, 1], **place)
        files.save(capture, tmp_path / "ct" / f"capture{number}.dcm", grid[number])
    files.save(files.header(files.STRUCTURES, "RTSTRUCT"), tmp_path / "ct" / "contours.dcm")
    check(read_volume(tmp_path / "ct"), voxels)
    (tmp_path / "rest").mkdir()
    for name in ("dose.dcm", "contours.dcm"):
        (tmp_path / "ct" / name).rename(tmp_path / "rest" / name)
    with pytest.raises(BadInputError, match="RTDOSE"):
        read_volume(tmp_path / "rest")
    with pytest.raises(BadInputError, match="RTSTRUCT"):
        read_volume(tmp_path / "rest" / "contours.dcm")


def test_of_two_copies_the_named_one_counts(tmp_path: Path, voxels: np.ndarray) -> None:
    files.write_series(tmp_path, voxels, SOPInstanceUID="1.2.3")
    files.write_slice(tmp_path / "000-copy.dcm", voxels[0] + 5, 0, SOPInstanceUID="1.2.3")
    for name, more in (("000.dcm", 0), ("000-copy.dcm", 5)):
        assert np.array_equal(read_volume(tmp_path / name).voxels[0], voxels[0] + more)


def test_one_file_stands_for_its_series(tmp_path: Path, voxels: np.ndarray) -> None:
    files.write_series(tmp_path, voxels)
    files.write_series(tmp_path, voxels + 1, [f"x{k}" for k in range(6)], SeriesInstanceUID="1.2.77")
    volume = read_volume(tmp_path / "x3.dcm")
    check(volume, voxels + 1)
    assert any("one file of a DICOM series; 6 slices" in warning for warning in volume.warnings)
    (tmp_path / "alone").mkdir()
    (tmp_path / "x3.dcm").rename(tmp_path / "alone" / "x3.dcm")
    alone = read_volume(tmp_path / "alone" / "x3.dcm")
    assert alone.voxels.shape[0] == 1 and any("single slice" in warning for warning in alone.warnings)


@pytest.mark.parametrize("cut", [40, 400, 700])
def test_files_cut_short_are_refused(tmp_path: Path, voxels: np.ndarray, cut: int) -> None:
    files.write_series(tmp_path, np.repeat(np.repeat(voxels, 4, 1), 4, 2))
    path = tmp_path / "003.dcm"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BadInputError, match=r"003\.dcm"):
        read_volume(tmp_path)


def pack_by_gdcm(file: Path) -> None:
    """Compress as lossless JPEG."""
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(file)), writer.SetUseCompression(True), writer.SetCompressor("JPEG")
    writer.KeepOriginalImageUIDOn()
    writer.Execute(SimpleITK.ReadImage(str(file)))


@pytest.mark.parametrize("how", ["RLELossless", "JPEGLSLossless", "JPEG lossless, as GDCM writes it"])
def test_compressed_series(tmp_path: Path, voxels: np.ndarray, how: str) -> None:
    """By pydicom's decoders, or by GDCM's for what those do not support."""
    stored = np.abs(voxels).astype(np.uint16)
    slope, intercept = (2, -7) if hasattr(pydicom.uid, how) else (1, 0)  # GDCM's writer supports no others
    series = files.write_series(tmp_path, stored, RescaleSlope=slope, RescaleIntercept=intercept)
    for file in sorted(series.iterdir()):
        if hasattr(pydicom.uid, how):
            dataset = pydicom.dcmread(file)
            dataset.compress(getattr(pydicom.uid, how))
            dataset.save_as(file)
        else:
            pack_by_gdcm(file)
    assert pydicom.dcmread(tmp_path / "000.dcm").file_meta.TransferSyntaxUID.is_compressed
    volume = read_volume(tmp_path)
    check(volume, stored.astype(np.int32) * slope + intercept)
    assert volume.voxels.dtype == np.int16


def test_what_gdcm_decodes_is_as_it_was_stored(tmp_path: Path, voxels: np.ndarray) -> None:
    """GDCM itself inverts MONOCHROME1, and scales all frames by the slope of the first."""
    series = files.write_series(tmp_path, np.abs(voxels).astype(np.uint16))
    for number, file in enumerate(sorted(series.iterdir())):
        pack_by_gdcm(file)
        dataset = pydicom.dcmread(file)
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.37 + number, -5.3
        dataset.save_as(file)
    check(read_volume(tmp_path), np.abs(voxels) * (0.37 + np.arange(6)[:, None, None]) - 5.3)


def test_real_series_with_blank_uids(shared_data: Path) -> None:
    volume = read_volume(shared_data / "ct-upper-abdomen-dicom" / "dicom")
    assert volume.voxels.shape == (20, 512, 512) and volume.voxels.dtype == np.int16 and volume.warnings == ()
    labels = SimpleITK.ReadImage(str(shared_data / "ct-upper-abdomen-dicom" / "labels.nii.gz"))
    assert np.allclose(volume.geometry.origin, labels.GetOrigin(), atol=1e-3)
    assert np.allclose(volume.geometry.spacing, labels.GetSpacing(), atol=1e-4)


def test_two_kinds_of_phases_at_once(tmp_path: Path, voxels: np.ndarray) -> None:
    """Two acquisitions with two echoes each: one of the four volumes is read, and it is known which."""
    for acquisition in (1, 2):
        for echo in (1, 2):
            for k, plane in enumerate(voxels):
                path = tmp_path / f"{acquisition}{echo}{k}.dcm"
                shifted = plane + 1000 * acquisition + 100 * echo
                files.write_slice(path, shifted, k, AcquisitionNumber=acquisition, EchoTime=10 * echo, TriggerTime=k)
    volume = read_volume(tmp_path)
    check(volume, voxels + 1100)
    assert "(0020,0012) = 1" in volume.warnings[0] and "(0018,0081) = 10" in volume.warnings[0]
