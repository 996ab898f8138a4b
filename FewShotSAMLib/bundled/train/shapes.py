"""Random solid shapes on a voxel grid, as signed fields: positive inside, in pixels near the border."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Space:
    """A warped coordinate system on a grid of D slices of H×W pixels.

    points (3, D, H, W): z, y, x in pixels of the slice plane, displaced by a smooth random field that deforms every
    shape drawn in it.
    """

    points: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, rows, columns = self.points.shape[1:]
        return depth, rows, columns

    @property
    def extent(self) -> Tensor:
        """Length of the grid's sides in pixels (z, y, x)."""
        return torch.stack([axis.max() - axis.min() for axis in self.points])


class Dice:
    """Random numbers from one generator, in methods named by purpose."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        """A number in low..high."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        """A number in low..high, uniform in its logarithm."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """A whole number, low and high included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(0, 1) < probability

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator)

    def point(self, extent: Tensor, inset: float = 0.15) -> Tensor:
        """A point in the box, away from its border by at least the share `inset` of its sides."""
        return extent * (inset + (1 - 2 * inset) * torch.rand(3, generator=self.generator))

    def rotation(self) -> Tensor:
        """A random rotation matrix (3, 3)."""
        q, r = torch.linalg.qr(self.normal(3, 3))
        q = q * torch.sign(torch.diagonal(r))
        return q if float(torch.linalg.det(q)) > 0 else q[:, [1, 0, 2]]


def smooth_noise(
    dice: Dice, shape: tuple[int, int, int], cells: tuple[float, float, float], channels: int = 1
) -> Tensor:
    """Return noise (channels, D, H, W) of about unit variance that varies over `cells` voxels along each axis."""
    low = [max(2, math.ceil(side / cell) + 1) for side, cell in zip(shape, cells, strict=True)]
    coarse = dice.normal(1, channels, *low)
    return 1.5 * F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]


def make_space(dice: Dice, shape: tuple[int, int, int], slice_step: float) -> Space:
    """Make a deformed space whose slices lie slice_step pixels apart."""
    sides = [torch.arange(n, dtype=torch.float32) * s for n, s in zip(shape, (slice_step, 1.0, 1.0), strict=True)]
    points = torch.stack(torch.meshgrid(*sides, indexing="ij"))
    for scale in (dice.log_uniform(40, 120), dice.log_uniform(12, 40)):
        bend = smooth_noise(dice, shape, (max(1.0, scale / slice_step), scale, scale), 3)
        points = points + bend * scale * dice.uniform(0.02, 0.14)
    if dice.chance(0.4):  # structures that drift from slice to slice
        height = points[:1] / max(1.0, slice_step * (shape[0] - 1))
        points[1:] += dice.normal(2, 1, 1, 1) * 25 * (height - 0.5) + dice.normal(2, 1, 1, 1) * 25 * (height - 0.5) ** 2
    return Space(points)


def ellipsoid(dice: Dice, space: Space, size: float, centre: Tensor | None = None) -> Tensor:
    """A superellipsoid of about `size` pixels radius, rotated at random, at a random place unless one is given."""
    radii = torch.tensor([size * dice.log_uniform(0.45, 1.8) for _ in range(3)])
    centre = dice.point(space.extent) if centre is None else centre
    offset = (space.points - centre.view(3, 1, 1, 1)).flatten(1)
    local = (dice.rotation() @ offset).abs() / radii.view(3, 1)
    power = dice.uniform(1.7, 3.5)
    level = local.pow(power).sum(0).clamp_min(1e-9).pow(1 / power)
    return ((1 - level) * float(radii.min())).view(space.shape)


def tube(dice: Dice, space: Space, radius: float, start: Tensor | None = None) -> Tensor:
    """A bent tube whose radius varies, mostly along the slice axis."""
    begin = dice.point(space.extent) if start is None else start
    end = dice.point(space.extent)
    if dice.chance(0.75):
        begin, end = begin.clone(), end.clone()
        if start is None:
            begin[0] = -0.1 * space.extent[0] if dice.chance(0.5) else dice.uniform(0.0, 0.3) * space.extent[0]
        end[0] = 1.1 * space.extent[0] if dice.chance(0.5) else dice.uniform(0.7, 1.0) * space.extent[0]
    middle = (begin + end) / 2 + dice.normal(3) * 0.18 * space.extent
    steps = torch.linspace(0, 1, 10).view(-1, 1)
    path = (1 - steps) ** 2 * begin + 2 * steps * (1 - steps) * middle + steps**2 * end
    wave = dice.uniform(0, 6.28)
    swell = dice.uniform(0, 0.35)
    points = space.points[:, :, ::2, ::2]  # distances are smooth: half of the pixels will do
    field = torch.full(points.shape[1:], -1e3)
    flatten = dice.log_uniform(0.6, 1.7)
    for number, (a, b) in enumerate(pairwise(path)):
        width = radius * (1 + swell * math.sin(wave + number * 0.6))
        torch.maximum(field, width - _to_segment(points, a, b, flatten), out=field)
    return F.interpolate(field.unsqueeze(1), size=space.shape[1:], mode="bilinear", align_corners=True)[:, 0]


def _to_segment(points: Tensor, a: Tensor, b: Tensor, flatten: float) -> Tensor:
    """Distance of every point to the segment from a to b; `flatten` squeezes the cross-section."""
    way = b - a
    z, y, x = points[0] - a[0], points[1] - a[1], points[2] - a[2]
    share = ((z * way[0] + y * way[1] + x * way[2]) / (float(way.dot(way)) + 1e-6)).clamp_(0, 1)
    z, y, x = z - share * way[0], y - share * way[1], x - share * way[2]
    return (z * z + (y * flatten) ** 2 + (x / flatten) ** 2).sqrt_()


def branching(dice: Dice, space: Space, radius: float) -> Tensor:
    """Tubes that branch from a common point."""
    start = dice.point(space.extent, 0.3)
    parts = [tube(dice, space, radius * dice.uniform(0.6, 1.1), start) for _ in range(dice.integer(2, 3))]
    return torch.stack(parts).amax(0)


def standing(dice: Dice, space: Space, size: float) -> Tensor:
    """A long solid that most slices cut across, like a heart's chamber in short-axis slices or a cord."""
    centre = dice.point(space.extent, 0.3)
    offset = space.points - centre.view(3, 1, 1, 1)
    lean = dice.normal(2) * 0.25
    y, x = offset[1] - lean[0] * offset[0], offset[2] - lean[1] * offset[0]
    length = float(space.extent[0]) * dice.uniform(0.35, 0.7)
    taper = (1 - (offset[0] / length).abs().pow(dice.uniform(2, 5))).clamp_min(0).sqrt()
    wide = dice.log_uniform(0.7, 1.4)
    return (taper - ((y * wide) ** 2 + (x / wide) ** 2).sqrt() / size) * size


def scattered(dice: Dice, space: Space, size: float) -> Tensor:
    """Several small solids around one point; some slices show many of them, some few and some none."""
    centre, reach = dice.point(space.extent, 0.25), size * dice.uniform(1.2, 3.0)
    places = [centre + dice.normal(3) * reach * 0.6 for _ in range(dice.integer(4, 12))]
    small = [size * dice.log_uniform(0.18, 0.5) for _ in places]
    return torch.stack([ellipsoid(dice, space, each, at) for each, at in zip(small, places, strict=True)]).amax(0)


def blob(dice: Dice, space: Space, size: float, slice_step: float) -> Tensor:
    """An irregular solid: an ellipsoid whose border is displaced in and out."""
    solid = ellipsoid(dice, space, size)
    cell = size * dice.uniform(0.3, 0.9)
    rough = smooth_noise(dice, space.shape, (max(1.0, cell / slice_step), cell, cell))[0]
    return solid + rough * cell * dice.uniform(0.15, 0.5)


def plate(dice: Dice, space: Space, size: float) -> Tensor:
    """A bent flat piece, like a muscle or the wing of a bone."""
    offset = (space.points - dice.point(space.extent).view(3, 1, 1, 1)).flatten(1)
    local = (dice.rotation() @ offset).view(3, *space.shape)
    bow = dice.uniform(-0.6, 0.6) / size
    flat = local[0] + bow * (local[1] ** 2 + local[2] ** 2)
    half = size * dice.uniform(0.12, 0.35)
    disc = size * dice.uniform(0.8, 1.6) - (local[1] ** 2 + (local[2] * dice.log_uniform(0.6, 1.6)) ** 2).sqrt()
    return torch.minimum(half - flat.abs(), disc)
