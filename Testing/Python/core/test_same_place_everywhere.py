"""Painted voxels and results are at the same place in SimpleITK, nibabel and pynrrd, for every grid and format."""

from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
from core.conftest import itk_image, rotation
from hypothesis import given, settings
from hypothesis import strategies as st

from FewShotSAMLib.core.annotation import annotate
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segmentation import place_on, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import read_volume

SIZE = (11, 9, 10)
TOLERANCE = 0.01
angles = st.floats(-180, 180)
lengths, ratios = st.floats(0.0005, 2), st.floats(1, 50)


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    """Any spacing, up to 50 times as long along one axis as along another, any orientation of either handedness, and an
    origin within a scanner."""
    finest = draw(lengths)
    spacing = (finest * draw(ratios), finest * draw(ratios), finest * draw(ratios))
    turned = rotation(draw(angles), draw(angles), draw(angles)) if draw(st.booleans()) else np.eye(3)
    axes = turned[:, draw(st.permutations(range(3)))] * np.array(draw(st.tuples(*[st.sampled_from((-1, 1))] * 3)))
    # NIfTI stores float32, so the origin is at most 500 voxels away, as for a volume in a scanner.
    origin = axes @ (np.array([draw(st.floats(-500, 500)) for _ in range(3)]) * spacing)
    return Geometry(SIZE, spacing, tuple(origin.tolist()), tuple(axes.ravel().tolist()))


def by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels (I, J, K) and the matrix from indices to LPS mm."""
    image = SimpleITK.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, matrix


def by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the same, as nibabel sees a NIfTI file."""
    image = nibabel.load(path)
    return np.asarray(image.dataobj), np.diag([-1, -1, 1, 1]) @ image.affine


def by_pynrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the same, as pynrrd sees an NRRD file."""
    data, header = nrrd.read(str(path))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = header["space directions"].T, header["space origin"]
    return data, matrix


def readers(suffix: str) -> list:
    return [by_itk, *({".nii": [by_nibabel], ".nii.gz": [by_nibabel], ".mha": []}.get(suffix, [by_pynrrd]))]


def write(voxels: np.ndarray, grid: Geometry, path: Path, writer: str) -> None:
    """Write a file without our own writers."""
    if writer == "nibabel":
        affine = np.diag([-1, -1, 1, 1]) @ grid.index_to_physical()
        nibabel.save(nibabel.Nifti1Image(voxels.T, affine), path)
    else:
        SimpleITK.WriteImage(itk_image(voxels, grid), path)


@settings(max_examples=40, deadline=None)
@given(
    grid=grids(),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    source=st.sampled_from([".nrrd", ".nii", ".nii.gz", ".mha"]),
    writer=st.sampled_from(["ITK", "nibabel"]),
    target=st.sampled_from([".seg.nrrd", ".nrrd", ".nii", ".nii.gz", ".mha"]),
    axis=st.integers(0, 2),
    painted=st.sets(st.integers(0, 8), min_size=1, max_size=3),
)
def test_voxels_stay_where_they_are(
    tmp_path_factory: pytest.TempPathFactory,
    grid: Geometry,
    dtype: str,
    source: str,
    writer: str,
    target: str,
    axis: int,
    painted: set[int],
) -> None:
    """Volume and annotation come from other programs; read, annotated and written, nothing moves by 0.01 voxel."""
    folder = tmp_path_factory.mktemp("grids")
    writer = writer if source.startswith(".nii") else "ITK"
    voxels = np.random.default_rng(0).integers(0, 200, grid.shape).astype(dtype)
    labels = np.zeros(grid.shape, dtype)
    for index in painted:
        np.moveaxis(labels, axis, 0)[index, 2:7, 1:6] = 1
        np.moveaxis(labels, axis, 0)[index, 7, 7] = 3
    write(voxels, grid, folder / f"v{source}", writer)
    write(labels, grid, folder / f"a{source}", writer)
    volume = read_volume(folder / f"v{source}")
    assert np.array_equal(volume.voxels, voxels) and volume.geometry.displacement(grid) < TOLERANCE
    placed, warnings = place_on(read_segmentation(folder / f"a{source}"), volume.geometry)
    annotation, _ = annotate(placed, axis)
    assert warnings == [] and set(annotation.painted) == painted
    write_segmentation(annotation.segmentation, folder / f"r{target}")
    to_voxels = np.linalg.inv(grid.index_to_physical())
    held = np.argwhere(labels.T > 0)
    for reader in readers(target):
        data, matrix = reader(folder / f"r{target}")
        assert np.array_equal(data, labels.T)
        world = np.c_[held, np.ones(len(held))] @ matrix.T
        np.testing.assert_allclose((world @ to_voxels.T)[:, :3], held, atol=TOLERANCE)
    assert np.array_equal(read_segmentation(folder / f"r{target}").layers[0], labels.astype(np.uint8))
