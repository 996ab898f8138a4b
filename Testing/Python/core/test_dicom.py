"""DICOM folders become volumes, sorted by position; what is odd about them is said."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import read_volume


def write_slice(folder: Path, name: str, pixels: np.ndarray, position: tuple[float, float, float], **tags: str) -> None:
    """A CT slice of 2 × 0.5 mm pixels, 3 mm thick; tags as group_element = value."""
    image = SimpleITK.GetImageFromArray(pixels[np.newaxis].astype(np.int16))
    image.SetSpacing((2.0, 0.5, 3.0))
    row, column = tags.pop("orientation", "1\\0\\0 0\\1\\0").split()
    values = {
        "0008|0060": "CT",
        "0020|000e": "1.2.3",
        "0020|0032": "\\".join(map(str, position)),
        "0020|0037": f"{row}\\{column}",
        **{f"{key[1:5]}|{key[5:]}": value for key, value in tags.items()},
    }
    for tag, value in values.items():
        image.SetMetaData(tag, value)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(folder / name))
    writer.Execute(image)


@pytest.fixture
def slices() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8))


def test_slices_are_sorted_by_position_not_name(tmp_path: Path, slices: np.ndarray) -> None:
    folder = tmp_path / "Größe"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(["f.dcm", "a.dcm", "sub/e.dcm", "b", "d.dcm", "c.dcm"]):
        write_slice(folder, f"{name}.dcm", slices[number], (-5, 8, 100 + 2.5 * number))
    (folder / "readme.txt").write_text("no image")
    volume = read_volume(folder)
    assert np.array_equal(volume.voxels, slices) and volume.warnings == () and volume.name == "Größe"
    assert volume.geometry.spacing == pytest.approx((2.0, 0.5, 2.5))
    assert volume.geometry.origin == (-5, 8, 100)


def test_oblique_slices(tmp_path: Path, slices: np.ndarray) -> None:
    normal = np.array([0.0, -0.6, 0.8])
    for number, plane in enumerate(slices):
        write_slice(
            tmp_path, f"{9 - number}.dcm", plane, tuple(3.0 * number * normal), orientation="1\\0\\0 0\\0.8\\0.6"
        )
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.voxels, slices) and volume.warnings == ()
    assert np.allclose(np.reshape(volume.geometry.direction, (3, 3)), [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])


def test_a_missing_slice_is_told(tmp_path: Path, slices: np.ndarray) -> None:
    for number in (0, 1, 2, 4, 5):
        write_slice(tmp_path, f"{number}.dcm", slices[number], (0, 0, 3 * number))
    volume = read_volume(tmp_path)
    assert volume.voxels.shape[0] == 5 and "not evenly spaced" in volume.warnings[0]


def test_tilted_gantry_is_told(tmp_path: Path, slices: np.ndarray) -> None:
    for number, plane in enumerate(slices):
        write_slice(tmp_path, f"{number}.dcm", plane, (0, number, 3 * number))
    assert any("tilted" in warning for warning in read_volume(tmp_path).warnings)


def test_the_largest_of_several_series_is_read(tmp_path: Path, slices: np.ndarray) -> None:
    for number, plane in enumerate(slices):
        uid = "1.2.4" if number < 2 else "1.2.3"
        write_slice(tmp_path, f"{number}.dcm", plane, (0, 0, 3 * number), t0020000e=uid, t0008103e=f"series {uid}")
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.voxels, slices[2:]) and "'series 1.2.3' with 4 of 6" in volume.warnings[0]


def test_phases_at_one_position(tmp_path: Path, slices: np.ndarray) -> None:
    for number, plane in enumerate(slices):
        write_slice(tmp_path, f"{number}.dcm", plane, (0, 0, 3 * (number // 2)), t00200012=str(1 + number % 2))
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.voxels, slices[::2]) and "(0020,0012) = 1" in volume.warnings[0]
    write_slice(tmp_path, "again.dcm", slices[0], (0, 0, 0), t00200012="1")
    write_slice(tmp_path, "more.dcm", slices[0], (0, 0, 0), t00200012="2")
    with pytest.raises(BadInputError, match="same position"):
        read_volume(tmp_path)


def test_a_damaged_slice_is_refused(tmp_path: Path, slices: np.ndarray) -> None:
    for number, plane in enumerate(slices):
        write_slice(tmp_path, f"{number}.dcm", plane, (0, 0, 3 * number))
    content = (tmp_path / "3.dcm").read_bytes()
    (tmp_path / "3.dcm").write_bytes(content[:-40])
    with pytest.raises(BadInputError):
        read_volume(tmp_path)


def test_real_series_with_blank_uids(shared_data: Path) -> None:
    volume = read_volume(shared_data / "ct-upper-abdomen-dicom" / "dicom")
    assert volume.voxels.shape == (20, 512, 512) and volume.voxels.dtype == np.int16 and volume.warnings == ()
    labels = SimpleITK.ReadImage(str(shared_data / "ct-upper-abdomen-dicom" / "labels.nii.gz"))
    assert np.allclose(volume.geometry.origin, labels.GetOrigin(), atol=1e-3)
    assert np.allclose(volume.geometry.spacing, labels.GetSpacing(), atol=1e-4)
