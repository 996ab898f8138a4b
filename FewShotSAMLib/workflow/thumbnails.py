"""Small pictures of painted slices: the image in grey, the segments over it in their colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.core.thumbnail import lay_over, thumbnail_samples
from FewShotSAMLib.workflow.scene import SceneSegment, SceneVolume

_DARKEST, _BRIGHTEST = 1.0, 99.0
"""Percentiles of the slice that become black and white if the volume has no window."""


def thumbnail(volume: SceneVolume, segments: Sequence[SceneSegment], axis: int, index: int, longest: int) -> np.ndarray:
    """The slice as radiologists see it, (rows, columns, 3) uint8: square pixels, `longest` on the longest side, and
    the grey values of the views."""
    plane = slice_plane(volume.geometry, axis)
    rows, columns = thumbnail_samples(plane.shape, plane.spacing, longest)
    image = plane.orient(np.take(volume.voxels, index, axis))[rows[:, None], columns]
    picture = _grey(image, volume.window)
    for segment in segments:
        local = index - segment.offset[axis]
        if not (segment.visible and 0 <= local < segment.labels.shape[axis]):
            continue
        mask = np.zeros(volume.geometry.slice_shape(axis), bool)
        row, column = (place for other, place in enumerate(segment.offset) if other != axis)
        labels = np.take(segment.labels, local, axis)
        mask[row : row + labels.shape[0], column : column + labels.shape[1]] = labels == segment.label_value
        drawn = plane.orient(mask)[rows[:, None], columns]
        lay_over(picture, drawn, segment.color)
    return picture.astype(np.uint8)


def _grey(image: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """(rows, columns, 3) float, 0 to 255."""
    if image.ndim == 3:
        return image[..., :3].astype(np.float32)
    values = np.nan_to_num(image.astype(np.float32))
    low, high = window or np.percentile(values, (_DARKEST, _BRIGHTEST))
    scaled = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
    return np.repeat(255.0 * scaled[..., np.newaxis], 3, axis=2)
