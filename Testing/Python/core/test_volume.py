"""Volumes are read with their geometry from every format, and bad files are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.volume import Volume, read_volume

FORMATS = ("nrrd", "nhdr", "nii", "nii.gz", "mha", "mhd")


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_keep_voxels_and_geometry(save: Callable, ramp: np.ndarray, geometry: Geometry, suffix: str) -> None:
    volume = read_volume(save(ramp, f"Schädel.1.{suffix}", geometry))
    assert np.array_equal(volume.voxels, ramp) and volume.voxels.dtype == np.int16
    assert volume.geometry.is_same_as(geometry)
    assert volume.name == "Schädel.1" and volume.warnings == () and not volume.is_rgb


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_write_image_round_trip(tmp_path: Path, ramp: np.ndarray, geometry: Geometry, suffix: str) -> None:
    write_image(ramp, geometry, tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    assert np.array_equal(volume.voxels, ramp) and volume.geometry.is_same_as(geometry)
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]
    with pytest.raises(BadInputError, match="suffix"):
        write_image(ramp, geometry, tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_modality_that_itk_noted_is_read(tmp_path: Path, ramp: np.ndarray, geometry: Geometry, suffix: str) -> None:
    image = SimpleITK.GetImageFromArray(ramp)
    image.SetMetaData("0008|0060", "CT ")  # as after ReadImage of a DICOM file
    SimpleITK.WriteImage(image, tmp_path / f"itk{suffix}")
    write_image(ramp, geometry, tmp_path / f"ours{suffix}", "CT")
    assert {read_volume(tmp_path / f"{name}{suffix}").modality for name in ("itk", "ours")} == {"CT"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64])
def test_stored_dtype_is_kept(save: Callable, ramp: np.ndarray, dtype: type) -> None:
    assert read_volume(save((ramp + 100).astype(dtype))).voxels.dtype == dtype


def test_slices_are_views_along_each_axis(ramp: np.ndarray) -> None:
    volume = Volume(ramp, Geometry((9, 7, 5)))
    for axis in range(3):
        assert np.array_equal(volume.slice_at(axis, 2), ramp.take(2, axis))
        assert np.shares_memory(volume.slice_at(axis, 2), ramp)


@pytest.mark.parametrize("channels", [3, 4])
def test_rgb_and_rgba(save: Callable, channels: int) -> None:
    colors = np.random.default_rng(0).integers(0, 255, (4, 5, 6, channels), dtype=np.uint8)
    volume = read_volume(save(colors, isVector=True))
    assert volume.is_rgb and np.array_equal(volume.voxels, colors[..., :3])
    assert volume.slice_at(1, 2).shape == (4, 6, 3) and len(volume.content_hash) == 40


def test_one_slice_and_2d_images(save: Callable, ramp: np.ndarray) -> None:
    assert read_volume(save(ramp[:1])).voxels.shape == (1, 7, 9)
    flat = read_volume(save(ramp[0].astype(np.uint8), "flat.png"))
    assert np.array_equal(flat.voxels, ramp[:1].astype(np.uint8)) and flat.geometry.shape == (1, 7, 9)


def test_content_hash_tells_content_apart(ramp: np.ndarray) -> None:
    geometry = Geometry((9, 7, 5))
    original = Volume(ramp, geometry).content_hash
    assert Volume(np.asfortranarray(ramp), geometry, "other name").content_hash == original
    assert Volume(ramp.astype(">i2"), Geometry((9, 7, 5), origin=(1, 2, 3))).content_hash == original
    changed = ramp.copy()
    changed[4, 6, 8] += 1
    others = [
        Volume(changed, geometry),
        Volume(ramp.astype(np.int32), geometry),
        Volume(ramp, Geometry((9, 7, 5), (1, 1, 2))),
    ]
    assert original not in {volume.content_hash for volume in others}


def test_nan_and_infinity_become_the_minimum(save: Callable, ramp: np.ndarray) -> None:
    voxels = ramp.astype(np.float32)
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = read_volume(save(voxels))
    assert (volume.voxels[0, 0, :3] == -97).all() and np.array_equal(volume.voxels[1:], ramp[1:])
    assert "3 voxels" in volume.warnings[0]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_truncated_files_are_refused(save: Callable, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 3000, (8, 32, 32), dtype=np.int16)
    path = save(noise, f"a.{suffix}")
    data = {"nhdr": "a.raw", "mhd": "a.raw"}.get(suffix, path.name)
    content = path.with_name(data).read_bytes()
    path.with_name(data).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadInputError) as caught:
        read_volume(path)
    assert path.name in caught.value.message and caught.value.hint


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "nhdr", "mha", "mhd"])
def test_damage_inside_a_compressed_file_is_noticed(ramp: np.ndarray, suffix: str, tmp_path: Path) -> None:
    """A changed bit in the data: SimpleITK does not always verify the checksums."""
    path = tmp_path / f"a.{suffix}"
    for pattern in range(8):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ramp), str(path), True)
        assert np.array_equal(read_volume(path).voxels, ramp)
        data = next(file for file in tmp_path.iterdir() if file.suffix != path.suffix or suffix not in ("nhdr", "mhd"))
        content = bytearray(data.read_bytes())
        content[-30 - 9 * pattern] ^= 1 << pattern
        data.write_bytes(content)
        with pytest.raises(BadInputError):
            read_volume(path)


def test_bad_input_is_named(save: Callable, ramp: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "text.nrrd").write_text("not an image")
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "folder").mkdir()
    vectors = np.zeros((3, 4, 5, 2), np.float32)
    cases = {
        "does not exist": tmp_path / "none.nrrd",
        "cannot be read": tmp_path / "text.nrrd",
        "damaged": tmp_path / "empty.nii.gz",
        "no DICOM": tmp_path / "folder",
        "constant": save(np.full((3, 4, 5), 7, np.int16), "constant.nrrd"),
        "2 values": save(vectors, "vectors.nrrd", isVector=True),
    }
    for message, path in cases.items():
        with pytest.raises(BadInputError, match=message):
            read_volume(path)


def test_4d_is_refused_unless_it_holds_one_volume(ramp: np.ndarray, tmp_path: Path) -> None:
    volumes = [SimpleITK.GetImageFromArray(ramp + step) for step in range(2)]
    for suffix in ("nii.gz", "nrrd"):
        SimpleITK.WriteImage(SimpleITK.JoinSeries(volumes), str(tmp_path / f"two.{suffix}"))
        with pytest.raises(BadInputError, match="4D"):
            read_volume(tmp_path / f"two.{suffix}")
        SimpleITK.WriteImage(SimpleITK.JoinSeries(volumes[:1]), str(tmp_path / f"one.{suffix}"))
        assert np.array_equal(read_volume(tmp_path / f"one.{suffix}").voxels, ramp)


def test_voxels_outlive_the_reader(save: Callable, ramp: np.ndarray) -> None:
    """The array shares SimpleITK's memory: nothing may free it while the array lives."""
    plane = read_volume(save(np.repeat(ramp, 50, axis=0))).voxels[::50]
    for _ in range(20):
        np.full(315 * 50, -1, np.int16)
    assert np.array_equal(plane, ramp) and not plane.flags.writeable


def test_real_volumes(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("*/image.nii.gz")):
        volume, image = read_volume(path), SimpleITK.ReadImage(str(path))
        assert np.array_equal(volume.voxels, SimpleITK.GetArrayViewFromImage(image))
        assert volume.geometry.direction == image.GetDirection() and volume.warnings == ()
