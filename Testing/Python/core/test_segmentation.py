"""Segmentations and label maps are read, placed on a volume's grid and written again without loss."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from core.conftest import itk_image

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segmentation import (
    Segment,
    Segmentation,
    check_output,
    place_on,
    read_segmentation,
    write_segmentation,
)
from FewShotSAMLib.core.volume import read_volume


@pytest.fixture
def labels() -> np.ndarray:
    array = np.zeros((5, 7, 9), np.uint8)
    array[1, 2:4, 3:6], array[3, 1:6, 2] = 3, 200
    return array


def two_segments(layers: np.ndarray, geometry: Geometry) -> Segmentation:
    segments = (Segment("a", "A", (1, 0, 0), 3), Segment("b", "B", (0, 1, 0), 3, len(layers) - 1))
    return Segmentation(layers, geometry, segments)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", "mha"])
def test_label_maps_of_any_type(
    save: Callable, labels: np.ndarray, geometry: Geometry, dtype: type, suffix: str
) -> None:
    segmentation = read_segmentation(save(labels.astype(dtype), f"labels.{suffix}", geometry))
    expected = [("Segment 3", 3, 0), ("Segment 200", 200, 0)]
    assert [(s.name, s.label_value, s.layer) for s in segmentation.segments] == expected
    assert segmentation.layers.dtype == np.uint8 and segmentation.layers.shape == (1, 5, 7, 9)
    for segment in segmentation.segments:
        assert np.array_equal(segmentation.mask(segment), labels == segment.label_value)
    assert len({segment.color for segment in segmentation.segments}) == 2
    assert segmentation.geometry.is_same_as(geometry)


def test_large_label_values_take_16_bits(save: Callable, labels: np.ndarray) -> None:
    segmentation = read_segmentation(save(np.where(labels == 3, 65535, 0).astype(np.int32)))
    assert segmentation.layers.dtype == np.uint16 and segmentation.segments[0].label_value == 65535


def test_colliding_values_and_overlaps_in_a_label_map(tmp_path: Path, labels: np.ndarray) -> None:
    layers = np.stack([np.where(labels == 3, 3, 0), np.where(labels == 200, 3, 0)]).astype(np.uint8)
    layers[1, 1, 2, 3] = 3
    warnings = write_segmentation(two_segments(layers, Geometry((9, 7, 5))), tmp_path / "a.nrrd")
    assert "'B' got label value 4" in warnings[0] and warnings[1].startswith("1 voxels")
    written = read_volume(tmp_path / "a.nrrd").voxels
    assert np.array_equal(written == 4, layers[1] == 3) and np.count_nonzero(written == 3) == 5


def test_outputs_that_cannot_be_written(tmp_path: Path, labels: np.ndarray) -> None:
    for bad in (tmp_path / "a.png", tmp_path / "a.mhd", tmp_path / "none" / "a.nrrd", Path("/proc/a.seg.nrrd")):
        with pytest.raises(BadInputError):
            check_output(bad)
        with pytest.raises(BadInputError):
            write_segmentation(two_segments(labels[np.newaxis], Geometry((9, 7, 5))), bad)
    check_output(tmp_path / "a.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_turned_segmentation_is_placed_exactly(labels: np.ndarray, geometry: Geometry) -> None:
    """Crop, flip and permute with SimpleITK, which knows the voxels' positions; then place it back."""
    cropped = itk_image(labels, geometry)[1:8, 1:7, 1:4]
    part = SimpleITK.Flip(SimpleITK.PermuteAxes(cropped, [2, 0, 1]), [True, False, True])
    size, spacing, origin = part.GetSize(), part.GetSpacing(), part.GetOrigin()
    small = Segmentation(
        SimpleITK.GetArrayFromImage(part)[np.newaxis],
        Geometry(size, spacing, origin, part.GetDirection()),
        (Segment("a", "A", (1, 0, 0), 3), Segment("b", "B", (0, 1, 0), 200)),
    )
    placed, warnings = place_on(small, geometry)
    assert np.array_equal(placed.layers[0], labels) and placed.geometry == geometry and warnings == []


def test_labels_outside_the_volume_are_told(labels: np.ndarray, geometry: Geometry) -> None:
    matrix = geometry.index_to_physical()
    shifted = replace(geometry, origin=tuple((matrix @ [0, 0, -2, 1])[:3].tolist()))
    placed, warnings = place_on(two_segments(labels[np.newaxis], shifted), geometry)
    assert np.array_equal(placed.layers[0, 1], labels[3]) and warnings[0].startswith("6 labelled voxels")
    away = replace(geometry, origin=tuple((matrix @ [0, 0, 50, 1])[:3].tolist()))
    with pytest.raises(BadInputError, match="outside the volume"):
        place_on(two_segments(labels[np.newaxis], away), geometry)


def test_another_grid_is_refused_and_both_are_shown(labels: np.ndarray, geometry: Geometry) -> None:
    other = replace(geometry, spacing=(0.7, 1.1, 3.0))
    with pytest.raises(BadInputError) as caught:
        place_on(two_segments(labels[np.newaxis], other), geometry)
    assert geometry.describe() in str(caught.value) and other.describe() in str(caught.value)


def test_same_grid_is_not_copied_and_takes_the_volume_geometry(labels: np.ndarray, geometry: Geometry) -> None:
    rounded = replace(geometry, direction=tuple(np.float32(geometry.direction).tolist()))
    segmentation = two_segments(labels[np.newaxis], rounded)
    placed, _ = place_on(segmentation, geometry)
    assert placed.layers is segmentation.layers and placed.geometry == geometry


def test_real_label_maps(shared_data: Path, tmp_path: Path) -> None:
    for path in sorted(shared_data.glob("*/labels.nii.gz")):
        image = path.with_name("image.nii.gz")
        volume = read_volume(image if image.exists() else path.with_name("dicom"))
        rows = path.with_name("labels.csv").read_text().splitlines()[1:]
        segmentation = read_segmentation(path)
        assert {segment.label_value for segment in segmentation.segments} <= {int(row.split(",")[0]) for row in rows}
        placed, warnings = place_on(segmentation, volume.geometry)
        assert placed.layers is segmentation.layers and warnings == []
        write_segmentation(placed, tmp_path / "a.seg.nrrd")
        again = read_segmentation(tmp_path / "a.seg.nrrd")
        assert np.array_equal(again.layers, placed.layers) and again.segments == placed.segments
        assert np.abs(again.geometry.index_to_physical() - volume.geometry.index_to_physical()).max() < 1e-13
