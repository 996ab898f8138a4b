"""Slices reach the encoder the right way up and undistorted, and masks and logits return to where they belong."""

import numpy as np
import pytest
import torch

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import axis_of_plane, slice_plane
from FewShotSAMLib.sam.framing import LOGIT_STRIDE, PATCH, Framing, resampled_logits, whole_slice
from FewShotSAMLib.sam.registry import PIXEL_MEAN

LPS = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)


def framing(rows: int, columns: int, size: int = 256, spacing: tuple[float, float] = (1.0, 1.0)) -> Framing:
    geometry = Geometry((columns, rows, 3), (spacing[1], spacing[0], 2.0), (0, 0, 0), LPS)
    return whole_slice(slice_plane(geometry, 0), size)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("direction", [LPS, (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0), (0, 0, 1.0, 1.0, 0, 0, 0, -1.0, 0)])
def test_planes_hang_the_same_way_up_for_every_direction(axis: int, direction: tuple[float, ...]) -> None:
    geometry = Geometry((4, 5, 6), (1, 1, 1), (0, 0, 0), direction)
    matrix = geometry.index_to_physical()[:3, :3]
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    position = np.stack([i, j, k], axis=-1) @ matrix.T  # LPS of every voxel
    plane = slice_plane(geometry, axis)
    turned = plane.orient(np.moveaxis(position, axis, 0)[0])
    down, along = turned[1, 0] - turned[0, 0], turned[0, 1] - turned[0, 0]
    expected = {
        "axial": ((0, 1, 0), (1, 0, 0)),
        "coronal": ((0, 0, -1), (1, 0, 0)),
        "sagittal": ((0, 0, -1), (0, 1, 0)),
    }[plane.name]
    np.testing.assert_allclose([down, along], expected)
    assert turned.shape[:2] == plane.shape
    np.testing.assert_array_equal(plane.restore(turned), np.moveaxis(position, axis, 0)[0])
    assert axis_of_plane(geometry, plane.name) == axis


def test_oblique_axes_are_each_named_once() -> None:
    turn = np.array([[0.71, -0.704, 0], [0.704, 0.71, 0], [0, 0, 1.0]])
    geometry = Geometry((4, 5, 6), (1, 1, 1), (0, 0, 0), tuple(turn.ravel()))
    assert sorted(slice_plane(geometry, axis).name for axis in range(3)) == ["axial", "coronal", "sagittal"]


def test_anisotropic_slices_keep_their_shape_in_millimetres() -> None:
    assert framing(20, 100, spacing=(5.0, 1.0)).content == (256, 256)
    assert framing(100, 50).content == (256, 128)
    assert framing(2, 400).content == (PATCH, 256)


def test_padding_is_the_pixel_mean_and_content_keeps_its_values() -> None:
    image = framing(40, 80).image(torch.full((40, 80), 0.5))
    assert image.shape == (3, 256, 256)
    torch.testing.assert_close(image[:, :128], torch.full((3, 128, 256), 127.5))
    torch.testing.assert_close(image[:, 200, 10], torch.tensor(PIXEL_MEAN))


def test_areas_are_exact_and_a_single_pixel_never_vanishes() -> None:
    frame = framing(500, 380, size=512)
    mask = torch.zeros(1, 500, 380)
    mask[0, 250, 199] = 1
    scale = 512 / 500
    for stride in (LOGIT_STRIDE, PATCH):
        areas = frame.areas(mask, stride)
        assert float(areas.sum()) == pytest.approx((scale / stride) ** 2, rel=1e-2)
    full = frame.areas(torch.ones(1, 500, 380), PATCH)[0]
    assert float(full.max()) == pytest.approx(1.0)
    assert float(full.sum()) == pytest.approx(512 * 389 / PATCH**2, rel=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(101, 122), (512, 512), (37, 300)])
def test_target_and_logits_come_back_to_the_same_pixels(rows: int, columns: int) -> None:
    frame = framing(rows, columns, size=512)
    classes = np.zeros((rows, columns), dtype=np.uint8)
    classes[rows // 3 : rows // 2 + 2, columns // 4 : columns // 2] = 1
    classes[rows // 2 + 2 :, columns // 2 :] = 2
    target, weight = frame.target(classes, 2)
    assert target.shape == (3, 128, 128)
    torch.testing.assert_close(target.sum(dim=0)[weight > 0.01], torch.ones(int((weight > 0.01).sum())))
    back = frame.uncut(target).argmax(dim=0).numpy()
    wrong = np.count_nonzero(back != classes)
    border = np.count_nonzero(np.diff(classes, axis=0)) + np.count_nonzero(np.diff(classes, axis=1))
    assert wrong <= border * max(1.0, rows / 128)


def test_ignored_pixels_and_padding_have_no_weight() -> None:
    frame = framing(64, 128)
    classes = np.zeros((64, 128), dtype=np.uint8)
    classes[:, :64] = 255
    weight = frame.target(classes, 1)[1]
    assert float(weight[:, :30].max()) == 0.0
    assert float(weight[32:].max()) == 0.0
    assert float(weight[:32, 34:].min()) == pytest.approx(1.0)


def test_a_crop_is_cut_in_display_orientation() -> None:
    plane = slice_plane(Geometry((6, 5, 3), (1, 1, 1), (0, 0, 0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)), 0)
    stored = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(Framing(plane, (1, 3, 2, 6), 256).cut(stored), stored[::-1, ::-1][1:3, 2:6])


@pytest.mark.parametrize("crop", [(0, 200, 0, 300), (20, 90, 100, 140), (150, 200, 10, 300)])
def test_logits_of_a_part_land_where_they_belong(crop: tuple[int, int, int, int]) -> None:
    """Each grid contains its own position in the slice, so that moved values must equal their new positions."""
    whole = framing(200, 300, 128, (1.5, 1.0))
    part, side = Framing(whole.plane, crop, 64), 96

    def places(of: Framing, cells: int) -> torch.Tensor:
        scale = [count / content for count, content in zip(of.crop_shape, of.content, strict=True)]
        at = (torch.arange(cells) + 0.5) * of.size / cells
        return torch.stack(torch.meshgrid(at * scale[0] + of.crop[0], at * scale[1] + of.crop[2], indexing="ij"))

    rows, columns, values = resampled_logits(places(part, 32)[None], part, whole, side)
    wanted = places(whole, side)[:, rows, columns]
    inner = (slice(None), slice(2, -2), slice(2, -2))  # linear, except for half a cell at the border
    torch.testing.assert_close(values[0][inner], wanted[inner], atol=1e-2, rtol=0)
    outside = torch.ones(side, side, dtype=torch.bool)
    outside[rows, columns] = False
    down, across = places(whole, side)
    inside = (down >= crop[0]) & (down < crop[1]) & (across >= crop[2]) & (across < crop[3])
    assert torch.equal(inside, ~outside)
