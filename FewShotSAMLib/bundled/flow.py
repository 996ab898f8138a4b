"""How the anatomy moves from slice to slice: dense displacements between neighbouring slices."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 3
ITERATIONS = 4
WINDOW = 7
"""Side in pixels of the window in which the displacement is assumed to be constant."""
DAMPING = 2e-3
"""Added to the diagonal of the structure tensor, so that nothing moves where the image is flat."""
MAX_STEP = 1.5
"""Largest displacement of one iteration, in pixels."""


def slice_flow(image: Tensor, to: Tensor, since: Tensor) -> Tensor:
    """Return displacements (N, 2, H, W) in pixels (x, y) that make slices `since` of image (D, H, W) match slices `to`.

    Pixel p of slice to[i] shows what slice since[i] shows at p + flow[i](p). Source: iterative Lucas-Kanade over an
    image pyramid (Lucas & Kanade 1981; Bouguet 2001), all pairs at once.
    """
    fixed, moving = image[to].unsqueeze(1), image[since].unsqueeze(1)
    flow = fixed.new_zeros(len(fixed), 2, 1, 1)
    for level in reversed(range(LEVELS)):
        size = [max(8, side >> level) for side in image.shape[-2:]]
        low_fixed, low_moving = (F.interpolate(part, size=size, mode="area") for part in (fixed, moving))
        scale = torch.tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]], device=image.device)
        flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
        if level < LEVELS - 1:
            flow = flow * scale.view(1, 2, 1, 1)
        for _ in range(ITERATIONS):
            flow = _smooth(flow + _step(low_fixed, warp(low_moving, flow)), 3)
    return flow


def warp(planes: Tensor, flow: Tensor) -> Tensor:
    """Sample planes (N, C, H, W) at p + flow(p), linearly; beyond the border its values continue."""
    rows, columns = planes.shape[-2:]
    y = torch.arange(rows, device=planes.device, dtype=planes.dtype).view(1, rows, 1)
    x = torch.arange(columns, device=planes.device, dtype=planes.dtype).view(1, 1, columns)
    grid = torch.stack([(x + flow[:, 0]) * 2 + 1, (y + flow[:, 1]) * 2 + 1], dim=-1)
    grid = grid / torch.tensor([columns, rows], device=planes.device, dtype=planes.dtype) - 1
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _step(fixed: Tensor, moved: Tensor) -> Tensor:
    """Return each window's least-squares displacement (N, 2, H, W) between the images (N, 1, H, W)."""
    mean = (fixed + moved) / 2
    padded = F.pad(mean, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    change = fixed - moved
    products = torch.cat([across * across, across * down, down * down, across * change, down * change], dim=1)
    xx, xy, yy, xt, yt = _smooth(products, WINDOW).unbind(1)
    xx, yy = xx + DAMPING * (xx + yy) + 1e-5, yy + DAMPING * (xx + yy) + 1e-5
    determinant = xx * yy - xy * xy
    step = torch.stack([yy * xt - xy * yt, xx * yt - xy * xt], dim=1) / determinant.unsqueeze(1)
    return step.clamp_(-MAX_STEP, MAX_STEP)


def _smooth(planes: Tensor, window: int) -> Tensor:
    """Average twice over a window of pixels within the image, which is nearly Gaussian."""
    down, across = (_twice_mean(size, window).to(planes) for size in planes.shape[-2:])
    return down @ planes @ across.T


@cache
def _twice_mean(size: int, window: int) -> Tensor:
    """Return the matrix (size, size) that averages twice over a window along one axis: for images of a few hundred
    pixels across, a matrix product is far faster than any pooling."""
    place = torch.arange(size)
    inside = ((place[:, None] - place[None]).abs() <= window // 2).float()
    mean = inside / inside.sum(1, keepdim=True)
    return mean @ mean
