"""Finds the part of the slices that holds the patient, so that no resolution is wasted on the air around."""

import numpy as np

from FewShotSAMLib.core.intensity import IntensityWindow
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.core.volume import Volume

FOREGROUND_LEVEL = 0.1
"""Normalised intensity above which a pixel counts as tissue."""
FOREGROUND_SHARE = 0.02
"""A row or column belongs to the body when this share of its pixels is tissue in at least one slice."""
MARGIN = 0.03
"""Added on every side, as a share of the slice's side."""
SAMPLED_SLICES = 64
"""Slices looked at, evenly spread; enough to see the body's outline."""


def body_box(volume: Volume, plane: SlicePlane, window: IntensityWindow) -> tuple[int, int, int, int]:
    """First row, end row, first column, end column (display orientation) of the box around the body in all slices.

    It depends on the image alone, never on what was painted: cached embeddings stay valid when a slice is added.
    """
    count = volume.voxels.shape[plane.axis]
    rows, columns = np.zeros(plane.shape[0]), np.zeros(plane.shape[1])
    for index in np.unique(np.linspace(0, count - 1, min(count, SAMPLED_SLICES)).round().astype(int)):
        grey = window.apply(plane.orient(volume.slice_at(plane.axis, int(index))))
        tissue = (grey.max(axis=-1) if grey.ndim == 3 else grey) > FOREGROUND_LEVEL
        rows = np.maximum(rows, tissue.mean(axis=1))
        columns = np.maximum(columns, tissue.mean(axis=0))
    return (*_span(rows), *_span(columns))


def _span(profile: np.ndarray) -> tuple[int, int]:
    inside = np.flatnonzero(profile > FOREGROUND_SHARE)
    if len(inside) == 0:
        return 0, len(profile)
    margin = round(MARGIN * len(profile))
    return max(0, int(inside[0]) - margin), min(len(profile), int(inside[-1]) + 1 + margin)
