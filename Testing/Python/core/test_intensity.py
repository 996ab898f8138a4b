"""Intensities of CT, MR and RGB volumes are always mapped to 0..1 in the same way."""

import json
from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.intensity import LEAST_CONTRAST, PRESETS, IntensityWindow, Normalisation, parse_normalisation
from FewShotSAMLib.core.volume import Volume, read_volume


def volume_of(voxels: np.ndarray) -> Volume:
    return Volume(voxels, Geometry((voxels.shape[2], voxels.shape[1], voxels.shape[0])))


@pytest.fixture
def mr() -> Volume:
    voxels = np.random.default_rng(0).normal(500, 100, (20, 30, 40)).astype(np.int16)
    voxels[:, :15] = 0
    voxels[0, 20, 0] = 30_000
    return volume_of(voxels)


def test_real_volumes_are_told_apart(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("*/image.nii.gz")):
        volume = read_volume(path)
        normalisation = parse_normalisation("auto", volume)
        is_ct = path.parent.name.startswith("ct-")
        assert normalisation == Normalisation(*(("window", -150, 250) if is_ct else ("percentile", 0.5, 99.5)))
        window = normalisation.resolve(volume)
        scaled = window.apply(volume.slice_at(0, volume.voxels.shape[0] // 2))
        assert scaled.dtype == np.float32 and scaled.min() >= 0 and scaled.max() <= 1 and scaled.std() > 0.05


def test_percentiles_ignore_padding_and_outliers(mr: Volume) -> None:
    window = parse_normalisation("auto", mr).resolve(mr)
    assert (window.low, window.high) == pytest.approx((500 - 2.576 * 100, 500 + 2.576 * 100), abs=15)


def test_nearly_constant_foreground_takes_the_whole_range() -> None:
    voxels = np.full((9, 10, 10), 7, np.uint8)
    voxels[0, 0, 0], voxels[0, 0, 1] = 3, 90
    assert Normalisation("percentile", 0.5, 99.5).resolve(volume_of(voxels)) == IntensityWindow(3, 90)


def test_presets_windows_and_percentiles(mr: Volume) -> None:
    assert parse_normalisation("lung", mr) == Normalisation("window", -1350, 150)
    assert parse_normalisation(" Window:-10,20.5 ", mr).resolve(mr) == IntensityWindow(-10, 20.5)
    assert parse_normalisation("percentile:0,100", mr).resolve(mr).high == 30_000
    keys = {parse_normalisation(name, mr).key for name in PRESETS} | {"rgb", "percentile:0.5,99.5"}
    assert len(keys) == len(PRESETS) + 1  # abdomen and soft-tissue are the same


def test_apply_clips_and_leaves_the_slice_alone() -> None:
    pixels = np.array([[-2000, -150], [50, 3000]], np.int16)
    assert np.array_equal(IntensityWindow(-150, 250).apply(pixels), np.float32([[0, 0], [0.5, 1]]))
    assert pixels[0, 0] == -2000


def test_rgb() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    volume = Volume(colors, Geometry((5, 4, 3)))
    normalisation = parse_normalisation("auto", volume)
    assert normalisation.key == "rgb"
    assert np.allclose(normalisation.resolve(volume).apply(volume.slice_at(0, 1)), colors[1] / 255)
    for text in ("abdomen", "percentile:1,99"):
        with pytest.raises(BadInputError):
            parse_normalisation(text, volume)
    with pytest.raises(BadInputError):
        Normalisation("window", 0, 1).resolve(volume)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "window", "window:1", "window:5,5", "window:nan,5", "percentile:5,101", "lung:1,2", "rgb:1,2"],
)
def test_unknown_normalisations(text: str, mr: Volume) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_normalisation(text, mr)
    assert caught.value.hint


def test_json(mr: Volume) -> None:
    for normalisation in (parse_normalisation("auto", mr), Normalisation("rgb", why="asked for")):
        again = Normalisation.from_json(json.loads(json.dumps(normalisation.to_json())))
        assert again == normalisation and again.why == normalisation.why != ""
    older = {"kind": "window", "low": 0, "high": 1}
    assert Normalisation.from_json(older) == Normalisation("window", 0, 1, "asked for")
    with pytest.raises(BadInputError):
        Normalisation.from_json({"kind": "window", "low": "x", "high": 1})


def test_a_window_is_stretched_to_what_a_region_holds() -> None:
    window = IntensityWindow(-100.0, 300.0)
    values = np.linspace(0.25, 0.5, 1001)
    stretched = window.stretched(values)
    assert stretched.low == pytest.approx(1.0, abs=1.5) and stretched.high == pytest.approx(99.0, abs=1.5)
    assert window.stretched(np.repeat([0.0, 1.0], 50)) == window


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_region_is_not_blown_up(level: float) -> None:
    stretched = IntensityWindow(0.0, 1.0).stretched(np.full(10, level))
    assert stretched.high - stretched.low == pytest.approx(LEAST_CONTRAST)
    assert 0 <= stretched.low <= level <= stretched.high <= 1
