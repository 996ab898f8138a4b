"""Thumbnails show grey values as the views do."""

from dataclasses import replace

import numpy as np

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.workflow.scene import SceneVolume
from FewShotSAMLib.workflow.thumbnails import thumbnail

SHAPE = (3, 20, 20)


def abdomen() -> SceneVolume:
    """Air around soft tissue of 40 to 60 HU and a vertebra of 700 HU."""
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[:, 3:17, 3:17] = 40
    voxels[:, 8:12, 3:17] = 60
    voxels[:, 14:16, 9:11] = 700
    return SceneVolume("v", "CT", voxels, Geometry((20, 20, 3), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0)))


def test_soft_tissue_is_seen_in_the_window_of_the_views() -> None:
    volume = abdomen()
    plain = thumbnail(volume, [], 0, 1, 20)[..., 0].astype(int)
    windowed = thumbnail(replace(volume, window=(-160.0, 240.0)), [], 0, 1, 20)[..., 0].astype(int)
    assert abs(windowed[9, 5] - windowed[5, 5]) >= 12 > abs(plain[9, 5] - plain[5, 5])
    assert set(np.unique(windowed[4, 4:16])) == {255 * 200 // 400}
    assert (windowed[0, 0], windowed.max()) == (0, 255)


def test_without_a_window_the_slice_itself_says_what_is_dark_and_bright() -> None:
    grey = thumbnail(abdomen(), [], 0, 1, 20)[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
