"""Exactly the named file is read, by its content; if it cannot be read, the error names it, the cause and a remedy."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.segmentation import place_on, read_segmentation
from FewShotSAMLib.core.volume import read_volume

AFFINE = np.array([[-1.5, 0, 0, 20], [0, -0.5, 0, 30], [0, 0, 4.0, -40], [0, 0, 0, 1]])


def nifti(path: Path, voxels: np.ndarray, kind: type = nibabel.Nifti1Image, **forms: tuple[np.ndarray, int]) -> Path:
    """Write a NIfTI file with the forms given as sform=(matrix, code), qform=(matrix, code)."""
    image = kind(voxels.T, None)
    image.header.set_zooms((1.5, 0.5, 4.0))
    image.set_sform(*forms.get("sform", (AFFINE, 1)))
    image.set_qform(*forms.get("qform", (AFFINE, 0)))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("named", ["x.nii", "x.nii.gz", "x.hdr", "x.img"])
def test_twins_are_not_taken_for_each_other(tmp_path: Path, ramp: np.ndarray, named: str) -> None:
    nifti(tmp_path / "x.nii", ramp)
    nifti(tmp_path / "x.nii.gz", ramp + 1)
    nifti(tmp_path / "x.hdr", ramp + 2, nibabel.Nifti1Pair)
    shift = {"x.nii": 0, "x.nii.gz": 1}.get(named, 2)
    assert np.array_equal(read_volume(tmp_path / named).voxels, ramp + shift)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_2_of_both_byte_orders(tmp_path: Path, ramp: np.ndarray, order: str) -> None:
    image = nibabel.Nifti2Image(ramp.T, AFFINE, nibabel.Nifti2Header(endianness=order))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.voxels, ramp) and volume.voxels.dtype == np.int16
    np.testing.assert_allclose(volume.geometry.origin, (-20, -30, -40))
    np.testing.assert_allclose(volume.geometry.spacing, (1.5, 0.5, 4))


def test_names_do_not_decide(tmp_path: Path, ramp: np.ndarray, save: Callable) -> None:
    grid = Geometry((9, 7, 5), (0.7, 1.1, 4.0), (1, 2, 3))
    (tmp_path / "plain.nii.gz").write_bytes(save(ramp, "a.nii", grid).read_bytes())
    (tmp_path / "packed.nii").write_bytes(save(ramp, "b.nii.gz", grid).read_bytes())
    for source, name in (("a.nrrd", "noname"), ("a.mha", "a.dat"), ("b.nrrd", "c.mha")):
        save(ramp, source, grid).rename(tmp_path / name)
    for name in ("plain.nii.gz", "packed.nii", "noname", "a.dat", "c.mha"):
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.voxels, ramp) and volume.geometry.is_same_as(grid), name


def test_bytes_behind_a_gzip_file_do_no_harm(tmp_path: Path, ramp: np.ndarray, save: Callable) -> None:
    for tail in (b"\0" * 700, b"trailing words"):
        path = save(ramp, "a.nii.gz")
        path.write_bytes(path.read_bytes() + tail)
        assert np.array_equal(read_volume(path).voxels, ramp)


FOREIGN = {
    "scene.mrb": (b"PK\3\4", [".mrb", "save the volume"]),
    "series.zip": (b"PK\3\4", [".zip", "Unpack"]),
    "brain.mgz": (gzip.compress(b"\0" * 400), [".mgz", "mri_convert"]),
    "array.npy": (b"\x93NUMPY\1\0", [".npy", ".nrrd"]),
    "scan.7z": (b"7z\xbc\xaf\x27\x1c", [".7z", "Unpack"]),
    "scan.nrrd.gz": (gzip.compress(b"NRRD0004\n" + b" " * 400), ["gzip", "Unpack"]),
    "page.nii.gz": (b"<!DOCTYPE html><html>", ["web page", "Download"]),
    "pointer.nii": (b"version https://git-lfs.github.com/spec/v1\n", ["LFS", "git lfs pull"]),
    "empty.nrrd": (b"", ["empty"]),
    "scene.mrml": (b'<MRML version="x">', [".mrml", "save the volume"]),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_kinds_are_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    content, words = FOREIGN[name]
    (tmp_path / name).write_bytes(content + b"\0" * 64 if content else b"")
    for read in (read_volume, read_segmentation):
        with pytest.raises(BadInputError) as caught:
            read(tmp_path / name)
        text = str(caught.value).replace(str(tmp_path / name), "")
        assert all(word in text for word in words), text


def test_a_spacing_that_is_not_given_is_told(ramp: np.ndarray, save: Callable) -> None:
    """An MRC file gives it in ångström."""
    pictures = save((ramp[0] + 100).astype(np.uint8), "c.png"), save((ramp + 100).astype(np.uint16), "d.tif")
    for path in (*pictures, save(ramp, "a.mrc")):
        assert "does not state its voxel size" in "".join(read_volume(path).warnings), path


def test_pictures_of_several_pages(tmp_path: Path, ramp: np.ndarray) -> None:
    pages = [Image.fromarray(plane) for plane in (ramp + 100).astype(np.uint16)]
    told = "ImageJ=1.54f\nimages={}\nslices=5\n"
    for number, compression in enumerate((None, "tiff_lzw", "tiff_deflate", "packbits")):
        path, description = tmp_path / f"{number}.tif", told.format(5)
        pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression, description=description)
        volume = read_volume(path)
        assert np.array_equal(volume.voxels, ramp + 100) and "does not state its voxel size" in volume.warnings[0]
    pages[0].save(path, description=told.format(5))
    with pytest.raises(BadInputError, match="5 slices in ImageJ's own way"):
        read_volume(path)
    pages[0].save(tmp_path / "a.jp2", irreversible=False)
    assert "does not state its voxel size" in read_volume(tmp_path / "a.jp2").warnings[0]


def test_a_list_of_three_volumes_is_no_colour_volume(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (5, 7, 9, 3), dtype=np.uint8)
    text = "NRRD0004\ntype: uchar\ndimension: 4\nsizes: 3 9 7 5\nkinds: {kind} domain domain domain\nencoding: raw\n"
    text += "space: left-posterior-superior\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\n\n"
    (tmp_path / "a.nrrd").write_bytes(text.format(kind="RGB-color").encode() + voxels.tobytes())
    assert read_volume(tmp_path / "a.nrrd").is_rgb
    (tmp_path / "a.nrrd").write_bytes(text.format(kind="list").encode() + voxels.tobytes())
    with pytest.raises(BadInputError, match="3 volumes in one file"):
        read_volume(tmp_path / "a.nrrd")


MOVED = AFFINE + np.array([[0, 0, 0, 13], [0, 0, 0, 0], [0, 0, 0, 4], [0, 0, 0, 0]])


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 1), (1, 0), (0, 1), (4, 2), (0, 0)])
def test_both_forms_of_a_nifti_file(tmp_path: Path, ramp: np.ndarray, sform: int, qform: int) -> None:
    """The same form counts as in ITK and 3D Slicer; a result has both, with their codes."""
    path = nifti(tmp_path / "a.nii.gz", ramp, sform=(AFFINE, sform), qform=(MOVED, qform))
    volume, itk = read_volume(path), SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(volume.geometry.origin, itk.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(volume.geometry.direction, itk.GetDirection(), atol=1e-6)
    assert any("apart" in warning for warning in volume.warnings) == (sform > 0 and qform > 0)
    write_image(ramp.astype(np.uint8) % 3, volume.geometry, tmp_path / "result.nii.gz")
    header, source = nibabel.load(tmp_path / "result.nii.gz").header, nibabel.load(path).header
    for name in ("get_sform", "get_qform"):
        ours, theirs = getattr(header, name)(coded=True), getattr(source, name)(coded=True)
        assert ours[1] == theirs[1]
        if theirs[1]:
            np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
    result = SimpleITK.ReadImage(str(tmp_path / "result.nii.gz"))
    np.testing.assert_allclose(result.GetOrigin(), itk.GetOrigin(), atol=1e-4)


def test_labels_on_the_other_form_lie_on_the_volume(tmp_path: Path, ramp: np.ndarray) -> None:
    """Labels saved by nibabel have only the sform, while the volume's qform counts."""
    volume = read_volume(nifti(tmp_path / "v.nii.gz", ramp, sform=(AFFINE, 2), qform=(MOVED, 1)))
    labels = np.zeros(ramp.shape, np.uint8)
    labels[2, 1:4, 2:5] = 1
    drawn = read_segmentation(nifti(tmp_path / "a.nii.gz", labels))
    placed, warnings = place_on(drawn, volume.geometry)
    assert np.array_equal(placed.layers[0], labels) and "two forms" in warnings[0]


@pytest.mark.parametrize(("error", "word"), [(1e-4, "warning"), (0.3, "refused")])
def test_rounded_axes_are_read_and_slanted_ones_are_not(
    tmp_path: Path, ramp: np.ndarray, error: float, word: str
) -> None:
    slanted = AFFINE.copy()
    slanted[0, 1] += error * 0.5
    path = nifti(tmp_path / "a.nii.gz", ramp, sform=(slanted, 1))
    if word == "refused":
        with pytest.raises(BadInputError, match="not perpendicular"):
            read_volume(path)
        return
    big = nifti(tmp_path / "big.nii.gz", np.tile(ramp, (1, 40, 40)), sform=(slanted, 1))
    volume = read_volume(big)
    assert "not quite perpendicular" in volume.warnings[0]
    axes = np.reshape(volume.geometry.direction, (3, 3))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    write_image((volume.voxels % 3).astype(np.uint8), volume.geometry, tmp_path / "result.nii.gz")
    assert SimpleITK.ReadImage(str(tmp_path / "result.nii.gz")).GetSize() == volume.geometry.size
    np.testing.assert_allclose(nibabel.load(tmp_path / "result.nii.gz").affine, slanted, atol=1e-6)


def test_nifti_cannot_hold_a_tilted_grid(tmp_path: Path, ramp: np.ndarray) -> None:
    axes = np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 0.9539392]])
    grid = Geometry((9, 7, 5), (1, 1, 4), direction=tuple(axes.ravel().tolist()))
    with pytest.raises(BadInputError, match=r"seg\.nrrd"):
        write_image(ramp, grid, tmp_path / "a.nii.gz")
    for name in ("a.nrrd", "a.mha"):
        write_image(ramp, grid, tmp_path / name)
        assert read_volume(tmp_path / name).geometry.displacement(grid) < 1e-6


def test_a_link_is_followed_and_stays(tmp_path: Path, ramp: np.ndarray) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "today.nrrd", tmp_path / "latest.nrrd"
    link.symlink_to(target)
    write_image(ramp, Geometry((9, 7, 5)), link)
    assert link.is_symlink() and np.array_equal(read_volume(target).voxels, ramp)


def test_names_that_no_file_can_have(tmp_path: Path, ramp: np.ndarray, save: Callable) -> None:
    odd = tmp_path / "Gr\udcf6\udcdfe.nrrd"
    shutil.copy(save(ramp), odd)
    for read in (read_volume, read_segmentation):
        with pytest.raises(BadInputError, match="not valid UTF-8"):
            read(odd)
    for path in (odd, tmp_path / f"{'a' * 260}.nrrd"):
        with pytest.raises(BadInputError, match="name"):
            write_image(ramp, Geometry((9, 7, 5)), path)
    with pytest.raises(BadInputError, match="too long"):
        read_volume(tmp_path / f"{'a' * 300}.nrrd")
    longest = tmp_path / f"{'ä' * 125}.nrrd"
    write_image(ramp, Geometry((9, 7, 5)), longest)
    assert np.array_equal(read_volume(longest).voxels, ramp)
