"""Episodes: a synthetic volume of which a few slices are painted, as the engine would prepare it for the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from FewShotSAMLib.bundled.flow import warp
from FewShotSAMLib.bundled.priors import Painted, Priors
from FewShotSAMLib.bundled.train.anatomy import SyntheticVolume, synthesise
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.sam.framing import averaged

SIDES = (128, 160, 192)
"""Sides of the square images that the network is trained on."""
STRIDE = 2
"""Pixels of the image per pixel of logits and priors."""


@dataclass(frozen=True)
class Episode:
    """image (D, S, S) float16 0..1; target (D, S/2, S/2) share of the structure; priors (D, kinds, S/2, S/2) float16;
    known: exemplars' slices, ascending; slice_step in pixels of the prior's grid."""

    image: Tensor
    target: Tensor
    priors: Tensor
    known: tuple[int, ...]
    slice_step: float


def make_episode(dice: Dice) -> Episode:
    """A random episode."""
    volume = synthesise(dice)
    known = _painted_slices(dice, volume.target)
    image, target, step = _cut(dice, volume, known)
    side = image.shape[-1]
    grid = side // STRIDE
    shares = averaged(target, grid)
    shown = shares[list(known)]
    if dice.chance(0.3):  # painted by hand, a little off
        shown = _by_hand(dice, shown)
    painted = Painted(known, shown.unsqueeze(1), step / STRIDE)
    priors = Priors(averaged(image, grid), painted)
    maps = torch.stack([priors.maps(index)[0] for index in range(len(image))])
    return Episode(image.half(), shares.half(), maps.half(), known, step / STRIDE)


def _painted_slices(dice: Dice, target: Tensor) -> tuple[int, ...]:
    """Slices with the structure, spread over its extent with some disorder, and mostly an empty one beyond each end."""
    held = torch.nonzero(target.flatten(1).any(1)).flatten()
    first, last = int(held[0]), int(held[-1])
    count = (1, 2, 3, 3, 3, 4, 5, 5, 7)[dice.integer(0, 8)]
    inset = dice.uniform(0.0, 0.1) * (last - first)
    places = torch.linspace(first + inset, last - inset, count) if count > 1 else torch.tensor([(first + last) / 2])
    if count > 1 and dice.chance(0.5):
        places = places + dice.normal(count) * 0.12 * (last - first) / count
    chosen = {int(held[(held - place).abs().argmin()]) for place in places.tolist()}
    for end in (first - 1, last + 1):
        if 0 <= end < len(target) and dice.chance(0.75):
            chosen.add(end)
    return tuple(sorted(chosen))


def _cut(dice: Dice, volume: SyntheticVolume, known: tuple[int, ...]) -> tuple[Tensor, Tensor, float]:
    """The region around what is painted, resampled to a square of one of SIDES, and the slice distance there."""
    painted = volume.target[list(known)].any(0)
    rows, columns = (torch.nonzero(painted.any(axis)).flatten() for axis in (1, 0))
    top, bottom, left, right = float(rows[0]), float(rows[-1] + 1), float(columns[0]), float(columns[-1] + 1)
    side = max(bottom - top, right - left, 20.0) * dice.uniform(1.25, 2.2)
    side = min(side, volume.image.shape[-1] * 1.1)
    centre = torch.tensor([(left + right) / 2, (top + bottom) / 2]) + dice.normal(2) * 0.06 * side
    size = SIDES[dice.integer(0, len(SIDES) - 1)]
    full = volume.image.shape[-1]
    theta = torch.tensor(
        [[side / full, 0, 2 * float(centre[0]) / full - 1], [0, side / full, 2 * float(centre[1]) / full - 1]]
    )
    if dice.chance(0.5):  # either orientation
        theta[:, :2] = theta[:, [1, 0]]
    theta[:, 0] *= -1 if dice.chance(0.5) else 1
    theta[:, 1] *= -1 if dice.chance(0.5) else 1
    grid = F.affine_grid(theta.unsqueeze(0), [1, 1, size, size], align_corners=False)
    stack = torch.stack([volume.image, volume.target.float()]).flatten(0, 1).unsqueeze(0)
    image, target = F.grid_sample(stack, grid, mode="bilinear", align_corners=False)[0].unflatten(0, (2, -1))
    return image, target, volume.slice_step * size / side


def _by_hand(dice: Dice, shown: Tensor) -> Tensor:
    """Masks moved by a fraction of a pixel or two, differently everywhere."""
    shift = F.interpolate(dice.normal(len(shown), 2, 4, 4), size=shown.shape[-2:], mode="bilinear") * dice.uniform(
        0, 0.6
    )
    return warp(shown.unsqueeze(1), shift)[:, 0]
