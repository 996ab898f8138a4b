"""Geodesic distances through a volume: how much an image changes along the smoothest path from painted pixels."""

from __future__ import annotations

from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

INTENSITY_WEIGHT = 1.0
"""Cost of crossing the full range of grey values."""
STEP_COST = 0.01
"""Cost of one pixel of path where nothing changes, so that proximity breaks ties."""
ROUNDS = 2
"""Sweeps along every axis, there and back. Paths that turn back more often come out too long, never too short."""
FAR = 1e4

Pixels = tuple[EllipsisType, slice, slice]
"""An index of some pixels of every plane."""


def geodesic_prior(image: Tensor, inside: Tensor, outside: Tensor, slice_step: float) -> Tensor:
    """Return how much nearer each voxel is to the structure's painted pixels than to others, in -1..1.

    image (D, H, W) in 0..1; inside and outside (C, D, H, W): the painted pixels in and around each of C structures;
    slice_step: slice distance in pixels. All on the CPU. Returns (C, D, H, W); 0 where neither can be reached.

    Grow from seeds (Zhu et al., An effective interactive medical image segmentation method using fast GrowCut, 2014)
    labels voxels by the same comparison; here the difference itself is kept, as a hint of its certainty. Sweeps over
    the axes replace the priority queue (Toivanen, New geodesic distance transforms for gray-scale images, 1996).
    """
    distance = torch.where(torch.cat([inside, outside]), 0.0, FAR)
    for _ in range(ROUNDS):
        for axis, step in ((1, slice_step), (2, 1.0), (3, 1.0)):
            _sweep(distance.numpy(), image.numpy(), axis, step)
    near, far = distance.chunk(2)
    return ((far - near) / (far + near).clamp_min(1e-6)).clamp(-1, 1)


def _sweep(distance: np.ndarray, image: np.ndarray, axis: int, step: float) -> None:
    """Relax `distance` (N, D, H, W) in place along one axis, forwards and backwards, straight and diagonally.

    NumPy is faster than torch here, as planes are small; they are made contiguous first.
    """
    planes = np.ascontiguousarray(np.moveaxis(distance, axis, 0))
    greys = np.ascontiguousarray(np.moveaxis(image, axis - 1, 0))
    # A path to the next plane costs the same in both directions, so costs are computed once for the whole volume.
    ways = [_way(greys, shift, length) for shift, length in _shifts(axis, step)]
    count = len(planes)
    for index in range(1, count):
        for here, there, costs in ways:
            reached = planes[index][there]
            np.minimum(reached, planes[index - 1][here] + costs[index - 1], out=reached)
    for index in range(count - 2, -1, -1):
        for here, there, costs in ways:
            reached = planes[index][here]
            np.minimum(reached, planes[index + 1][there] + costs[index], out=reached)
    np.moveaxis(distance, axis, 0)[...] = planes


def _shifts(axis: int, step: float) -> list[tuple[tuple[int, int], float]]:
    """In-plane displacements to the next plane, and the lengths of these paths. Across slices all eight neighbours;
    within slices only diagonals in the slice (the sweep across slices connects them)."""
    if axis == 1:
        return [
            ((down, across), (step**2 + down**2 + across**2) ** 0.5) for down in (-1, 0, 1) for across in (-1, 0, 1)
        ]
    return [((0, across), (1.0 + across**2) ** 0.5) for across in (-1, 0, 1)]


def _way(greys: np.ndarray, shift: tuple[int, int], length: float) -> tuple[Pixels, Pixels, np.ndarray]:
    """Return the pixels p of a plane for which p + shift is in the next plane, too; these p + shift; and the path's
    cost from each plane to the next."""
    rows, columns = (
        (slice(max(-by, 0), side - max(by, 0)), slice(max(by, 0), side + min(by, 0)))
        for by, side in zip(shift, greys.shape[-2:], strict=True)
    )
    here, there = ((..., row, column) for row, column in zip(rows, columns, strict=True))
    change = np.abs(greys[1:][there] - greys[:-1][here])
    return here, there, np.float32(INTENSITY_WEIGHT) * change + np.float32(STEP_COST * length)
