"""Post-processing does what was requested and takes no voxel from another class."""

import numpy as np

from FewShotSAMLib.core.postprocess import PostProcessing, apply, fill_holes, largest_island, smooth

SPACING = (2.0, 1.0, 1.0)


def test_nothing_is_done_unless_asked_for() -> None:
    classes = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    assert apply(classes, PostProcessing(), SPACING) is classes


def test_largest_island() -> None:
    mask = np.zeros((6, 9, 9), bool)
    mask[1:4, 1:4, 1:4] = mask[4, 4, 4] = mask[2, 7, 7] = True  # one touches only at a corner
    kept = largest_island(mask)
    assert kept.sum() == 27 and kept[1:4, 1:4, 1:4].all()
    assert not largest_island(np.zeros((2, 2, 2), bool)).any()


def test_fill_holes_in_3d() -> None:
    mask = np.zeros((5, 7, 7), bool)
    mask[:, 1:6, 1:6] = True
    mask[:, 3, 3] = False  # a tunnel
    mask[2, 2, 2] = False  # a cavity
    assert fill_holes(mask)[2, 2, 2] and not fill_holes(mask)[2, 3, 3]


def test_smoothing_is_in_millimetres() -> None:
    mask = np.zeros((21, 21, 21), bool)
    mask[5:16, 5:16, 5:16] = True
    mask[10, 10, 16:19] = True  # a spur
    result = smooth(mask, SPACING, 2.0)
    assert not result[10, 10, 17] and result[10, 10, 10] and abs(int(result.sum()) - 11**3) < 0.2 * 11**3
    corner = smooth(mask, (1.0, 1.0, 1.0), 2.0)
    assert not np.array_equal(corner, result)


def test_classes_keep_their_voxels() -> None:
    classes = np.zeros((12, 20, 20), np.uint8)
    classes[2:10, 3:10, 3:17] = 1
    classes[2:10, 10:17, 3:17] = 2
    classes[5, 6, 8] = 0  # a hole of 1
    classes[6, 6, 6] = 2  # an island of 2 inside 1
    classes[0, 0, 0] = 1  # an island of 1
    cleaned = apply(classes, PostProcessing(largest_island=True, fill_holes=True, smooth_mm=1.5), SPACING)
    assert cleaned[5, 6, 8] == 1 and cleaned[6, 6, 6] == 0 and cleaned[0, 0, 0] == 0
    assert not ((classes == 1) & (cleaned == 2)).any() and not ((classes == 2) & (cleaned == 1)).any()
    seam = cleaned[4:8, 9:11, 6:14]
    assert (seam[:, 0] == 1).all() and (seam[:, 1] == 2).all()
    assert classes[0, 0, 0] == 1


def test_fill_holes_spares_a_class_inside_another() -> None:
    classes = np.ones((7, 7, 7), np.uint8)
    classes[2:5, 2:5, 2:5] = 0
    classes[3, 3, 3] = 2
    cleaned = apply(classes, PostProcessing(fill_holes=True), SPACING)
    assert cleaned[3, 3, 3] == 2 and (cleaned == 1).sum() == 7**3 - 1
