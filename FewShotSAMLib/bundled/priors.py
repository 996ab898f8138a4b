"""Shape priors: what the painted slices alone, or with the image's help, say about the slices between them.

Everything here is arithmetic without learned weights. The network learns when to trust which of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from FewShotSAMLib.bundled.flow import slice_flow, warp
from FewShotSAMLib.bundled.fusion import KINDS
from FewShotSAMLib.bundled.geodesic import geodesic_prior

FADE = 0.5
"""Pixels by which a shape shrinks per pixel of way beyond the outermost painted slice."""
FADE_ALONE = 0.25
"""The same where the segment is painted on a single slice: that lies in the middle of it rather than near its end.
Between the two where several are painted that lie closer together than the segment's radius."""
REACH = 16.0
"""Signed distances are cut off at this many pixels."""
SCALE = 4.0
"""Pixels of signed distance that make one unit of a prior's logit."""


@dataclass(frozen=True)
class Painted:
    """The exemplars on the prior's grid: slice numbers, ascending, and for each segment its share of every pixel.

    slices (n,), masks (n, C, H, W) in 0..1; slice_step: distance of two slices in pixels of the grid.
    """

    slices: tuple[int, ...]
    masks: Tensor
    slice_step: float

    def spreads(self) -> Tensor:
        """Distance (C,) in pixels between the outermost slices that show a segment; 0 with fewer than two of them."""
        shows = (self.masks > 0).flatten(2).any(2).cpu()
        places = torch.tensor(self.slices).float().unsqueeze(1) * self.slice_step
        last = torch.where(shows, places, -torch.inf).amax(0)
        return (last - torch.where(shows, places, torch.inf).amin(0)).clamp_min(0)


@dataclass(frozen=True)
class Neighbours:
    """The exemplars around a slice: positions in `Painted.slices`, None beyond the first and last; share of the way."""

    below: int | None
    above: int | None
    share: float


class Priors:
    """Shape priors of a volume for every slice and segment.

    image (D, H, W) in 0..1; spreads (C,): those of the segments, where they are not to be seen from `painted`.
    Distances and displacements are found once; `maps` gives any slices.
    """

    def __init__(self, image: Tensor, painted: Painted, spreads: Tensor | None = None) -> None:
        self.painted = painted
        self._spreads = (painted.spreads() if spreads is None else spreads).view(-1, 1, 1)
        self._is_declared_empty = [not bool(masks.any()) for masks in painted.masks]
        self.depth = len(image)
        self._distances = torch.stack([torch.stack([signed_distance(m) for m in masks]) for masks in painted.masks])
        known = torch.zeros(self.depth, dtype=torch.bool)
        known[list(painted.slices)] = True
        smooth = ndimage.gaussian_filter(image.cpu().numpy(), (0, 0.7, 0.7))
        self._geodesic = _geodesic(torch.from_numpy(smooth), painted, known)
        self._carried = _carry(torch.from_numpy(smooth), painted, self._distances)

    def radii(self) -> Tensor:
        """Greatest distance (n, C) in pixels from a segment's border on each exemplar; 0 where it is not shown."""
        return self._distances.amax((-2, -1)).clamp_min(0)

    def maps(self, index: int) -> Tensor:
        """(C, len(KINDS), H, W) of one slice, each about -4..4, positive inside."""
        around = neighbours(self.painted.slices, index)
        still = self._blend(around, index, [self._distances[i] for i in _sides(around)])
        moved = self._blend(around, index, [self._carried[i, index].float() for i in _sides(around)])
        maps = {"interpolation": still / SCALE, "transport": moved / SCALE, "geodesic": 3 * self._geodesic[:, index]}
        return torch.stack([maps[kind] for kind in KINDS], dim=1)

    def _blend(self, around: Neighbours, index: int, shapes: Sequence[Tensor]) -> Tensor:
        """Signed distances (C, H, W) from those of the exemplars on either side."""
        if len(shapes) == 1:
            (side,) = _sides(around)
            way = abs(index - self.painted.slices[side]) * self.painted.slice_step
            radius = shapes[0].amax((-2, -1), keepdim=True).clamp_min(1)
            fade = FADE + (FADE_ALONE - FADE) * _closeness(self._spreads, radius)
            return (shapes[0] - fade * way).clamp(-REACH, REACH)
        below, above = shapes
        first, last = _sides(around)
        gap = (self.painted.slices[last] - self.painted.slices[first]) * self.painted.slice_step
        blended = below * (1 - around.share) + above * around.share
        ends, begins = _is_empty(above) & ~_is_empty(below), _is_empty(below) & ~_is_empty(above)
        blended = torch.where(ends, self._ending(below, around.share, gap, last), blended)
        blended = torch.where(begins, self._ending(above, 1 - around.share, gap, first), blended)
        return blended.clamp(-REACH, REACH)

    def _ending(self, shape: Tensor, share: float, gap: float, empty: int) -> Tensor:
        """A shape (C, H, W) on its way to exemplar `empty`, where nothing of it is left.

        Like a cone from the outermost of several painted slices, like half an ellipsoid from a single one, which lies
        in the middle; between the two where several lie closer together than the `gap`. Only a slice that was declared
        empty marks an end: one without this segment that was painted for another may be far beyond it.
        """
        round_end = _closeness(self._spreads, gap) * self._is_declared_empty[empty]
        way = share + (1 - math.sqrt(1 - share**2) - share) * round_end
        return shape - way * (shape.amax((-2, -1), keepdim=True) + 1)


def _closeness(spreads: Tensor, length: Tensor | float) -> Tensor:
    """1 for segments painted on a single slice, falling to 0 for those whose painted slices lie a length apart."""
    return (1 - spreads / length).clamp(0, 1)


def neighbours(slices: Sequence[int], index: int) -> Neighbours:
    """The exemplars next to a slice; an exemplar's own slice counts as both."""
    below = max((i for i, known in enumerate(slices) if known <= index), default=None)
    above = min((i for i, known in enumerate(slices) if known >= index), default=None)
    if below is None or above is None or below == above:
        return Neighbours(below, above if below != above else None, 0.0)
    return Neighbours(below, above, (index - slices[below]) / (slices[above] - slices[below]))


def signed_distance(mask: Tensor) -> Tensor:
    """Distance in pixels to the border of a mask (H, W) of shares 0..1, positive inside, -REACH everywhere if empty."""
    inside = mask.cpu().numpy() >= 0.5
    if not inside.any() and float(mask.max()) > 0:
        inside = mask.cpu().numpy() >= float(mask.max())  # thinner than a pixel
    if not inside.any():
        return torch.full(mask.shape, -REACH)
    if inside.all():
        return torch.full(mask.shape, REACH)
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    # Pixel centres lie half a pixel from the border.
    return torch.from_numpy((distance - np.sign(distance) * 0.5).astype(np.float32))


def _sides(around: Neighbours) -> list[int]:
    return [side for side in (around.below, around.above) if side is not None]


def _is_empty(shape: Tensor) -> Tensor:
    return shape.amax((-2, -1), keepdim=True) <= -REACH


def _geodesic(image: Tensor, painted: Painted, known: Tensor) -> Tensor:
    inside = torch.zeros(painted.masks.shape[1], *image.shape, dtype=torch.bool)
    inside[:, list(painted.slices)] = (painted.masks >= 0.5).transpose(0, 1)
    outside = known.view(1, -1, 1, 1) & ~inside
    result = geodesic_prior(image, inside, outside, painted.slice_step)
    # A segment that is painted nowhere is nowhere.
    return torch.where(inside.flatten(1).any(1).view(-1, 1, 1, 1), result, -1.0)


def _carry(image: Tensor, painted: Painted, distances: Tensor) -> dict[tuple[int, int], Tensor]:
    """Signed distances (C, H, W), half precision, of each exemplar carried along with the anatomy as far as the next
    one, by (exemplar, slice)."""
    up, down = _flows(image, painted.slices)
    carried: dict[tuple[int, int], Tensor] = {}
    for number, (start, shape) in enumerate(zip(painted.slices, distances, strict=True)):
        carried[number, start] = shape.half()
        stop = painted.slices[number + 1] if number + 1 < len(painted.slices) else len(image)
        for index, moved in _walk(shape, range(start + 1, stop), up):
            carried[number, index] = moved.half()
        stop = painted.slices[number - 1] if number else -1
        for index, moved in _walk(shape, range(start - 1, stop, -1), down):
            carried[number, index] = moved.half()
    return carried


def _walk(shape: Tensor, way: range, flow: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
    """A shape (C, H, W) slice by slice; displacements add up, so that the shape itself is sampled once."""
    total: Tensor | None = None
    for index in way:
        step = flow[index].unsqueeze(0)
        total = step if total is None else step + warp(total, step)
        yield index, warp(shape.unsqueeze(0), total)[0]


def _flows(image: Tensor, slices: Sequence[int]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Displacement (2, H, W) with which each slice looks like the one below it (first) and above it (second)."""
    order = torch.arange(len(image))
    if len(image) < 2:
        return {}, {}
    known = set(slices)
    upward = [int(i) for i in order[1:] if int(i) > min(known)]
    downward = [int(i) for i in order[:-1] if int(i) < max(known)]
    to = torch.tensor(upward + downward)
    since = torch.tensor([i - 1 for i in upward] + [i + 1 for i in downward])
    parts = [slice_flow(image, to[i : i + 64], since[i : i + 64]) for i in range(0, len(to), 64)]
    flow = torch.cat(parts) if parts else image.new_zeros(0, 2, *image.shape[1:])
    return dict(zip(upward, flow, strict=False)), dict(zip(downward, flow[len(upward) :], strict=True))
