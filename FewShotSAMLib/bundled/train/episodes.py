"""Episodes: a synthetic volume with a few painted slices, prepared for the network as the engine would do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from FewShotSAMLib.bundled.flow import warp
from FewShotSAMLib.bundled.priors import Flows, Painted, Priors, atlas_priors
from FewShotSAMLib.bundled.train.anatomy import SyntheticVolume, synthesise
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.sam.framing import averaged

SIDES = (128, 160, 192)
"""Sides of the square training images."""
STRIDE = 2
"""Pixels of the image per pixel of logits and priors."""


DECLARED = (1.0, 1.0, 0.6, 0.0, 0.0)
"""Probabilities that an empty slice beyond an end is declared; each episode draws one of them."""
PAIRS = 0.2
"""Share of episodes with another body, whose exemplars stand for an earlier patient's."""
AHEAD = 2
"""How many slices beyond a declared end are predicted."""
FAR = 10
"""The same where no end is declared, so that the network has to find the structure's end."""


@dataclass(frozen=True)
class Episode:
    """A volume with some painted slices.

    image (D, S, S) float16 0..1; target (D, S/2, S/2) share of the structure; priors (D, kinds, S/2, S/2) float16;
    known: exemplars' slices, ascending; slice_step in pixels of the prior's grid. other, other_target: exemplars of
    another body of the same anatomy, (n, 3, S, S) and (n, S/2, S/2), empty if there is none; atlas: priors from its
    registered label. kind, like: as in SyntheticVolume.
    """

    image: Tensor
    target: Tensor
    priors: Tensor
    known: tuple[int, ...]
    slice_step: float
    other: Tensor
    other_target: Tensor
    atlas: Tensor
    kind: str = ""
    like: str = ""

    @property
    def is_pair(self) -> bool:
        """Whether there is another body."""
        return len(self.other) > 0

    @property
    def gap(self) -> float:
        """Mean distance between adjacent exemplars in pixels of the prior's grid."""
        return (self.known[-1] - self.known[0]) / max(1, len(self.known) - 1) * self.slice_step


@dataclass(frozen=True)
class Square:
    """A square region of slices: its centre (x, y) and side in pixels, its side after resampling (size), and its
    orientation (2, 2)."""

    centre: Tensor
    side: float
    size: int
    turned: Tensor

    def cut(self, volumes: Tensor) -> Tensor:
        """Resample (n, D, H, W) to (n, D, size, size), linearly."""
        full = volumes.shape[-1]
        theta = torch.cat([self.turned * self.side / full, (2 * self.centre / full - 1).unsqueeze(1)], dim=1)
        grid = F.affine_grid(theta.unsqueeze(0), [1, 1, self.size, self.size], align_corners=False)
        flat = volumes.flatten(0, 1).unsqueeze(0)
        return F.grid_sample(flat, grid, mode="bilinear", align_corners=False)[0].unflatten(0, (len(volumes), -1))


def make_episode(dice: Dice) -> Episode:
    """Make a random episode."""
    volume = synthesise(dice, pair=dice.chance(PAIRS))
    known = _painted_slices(dice, volume.target)
    square = _square(dice, volume.target[list(known)].any(0))
    stack = [volume.image, volume.target.float()] + ([] if volume.atlas is None else [volume.atlas.float()])
    image, target, *atlas = square.cut(torch.stack(stack))
    step = volume.slice_step * square.size / square.side / STRIDE
    small, shares = averaged(image, square.size // STRIDE), averaged(target, square.size // STRIDE)
    shown = shares[list(known)]
    if dice.chance(0.3):  # as painted by hand: slightly inaccurate
        shown = _by_hand(dice, shown)
    priors = Priors(Flows(small.__getitem__), len(small), Painted(known, shown.unsqueeze(1), step))
    maps = torch.stack([priors.maps(index)[0] for index in range(len(image))])
    other, other_target = (torch.empty(0), torch.empty(0)) if volume.other is None else _exemplars(dice, volume, square)
    registered = atlas_priors(small, averaged(atlas[0], square.size // STRIDE), step) if atlas else torch.empty(0)
    image, shares, maps, other, other_target, registered = (
        part.half() for part in (image, shares, maps, other, other_target, registered)
    )
    return Episode(image, shares, maps, known, step, other, other_target, registered, volume.kind, volume.like)


def _exemplars(dice: Dice, volume: SyntheticVolume, square: Square) -> tuple[Tensor, Tensor]:
    """Painted slices of the other body with their neighbours (n, 3, S, S), and their masks (n, S/2, S/2)."""
    assert volume.other is not None
    known = list(_painted_slices(dice, volume.other.target))
    own = _square(dice, volume.other.target[known].any(0))
    alike = Square(own.centre, square.side * dice.log_uniform(0.9, 1.1), square.size, square.turned)
    image, target = alike.cut(torch.stack([volume.other.image, volume.other.target.float()]))
    last = len(image) - 1
    shown = torch.stack([image[[max(index - 1, 0), index, min(index + 1, last)]] for index in known])
    return shown, averaged(target, square.size // STRIDE)[known]


def _painted_slices(dice: Dice, target: Tensor) -> tuple[int, ...]:
    """Choose slices with the structure, spread irregularly over its extent, and mostly an empty one beyond each end."""
    held = torch.nonzero(target.flatten(1).any(1)).flatten()
    first, last = int(held[0]), int(held[-1])
    count = (1, 2, 3, 3, 3, 4, 5, 5, 7)[dice.integer(0, 8)]
    inset = dice.uniform(0.0, 0.1) * (last - first)
    places = torch.linspace(first + inset, last - inset, count) if count > 1 else torch.tensor([(first + last) / 2])
    if count > 1 and dice.chance(0.5):
        places = places + dice.normal(count) * 0.12 * (last - first) / count
    chosen = {int(held[(held - place).abs().argmin()]) for place in places.tolist()}
    declared = DECLARED[dice.integer(0, len(DECLARED) - 1)]
    for end in (first - 1, last + 1):
        if 0 <= end < len(target) and dice.chance(declared):
            chosen.add(end)
    if len(chosen) == len(target):  # no slice would be left to predict
        chosen.remove(first)
    return tuple(sorted(chosen))


def _square(dice: Dice, painted: Tensor) -> Square:
    """Choose a region around what is painted (H, W), with a size and position that the engine might choose, in a random
    orientation."""
    rows, columns = (torch.nonzero(painted.any(axis)).flatten() for axis in (1, 0))
    top, bottom, left, right = float(rows[0]), float(rows[-1] + 1), float(columns[0]), float(columns[-1] + 1)
    side = max(bottom - top, right - left, 20.0) * dice.uniform(1.25, 2.2)
    side = min(side, painted.shape[-1] * 1.1)
    centre = torch.tensor([(left + right) / 2, (top + bottom) / 2]) + dice.normal(2) * 0.06 * side
    turned = torch.eye(2)
    if dice.chance(0.5):
        turned = turned[:, [1, 0]]
    turned = turned * torch.tensor([[-1.0 if dice.chance(0.5) else 1.0, -1.0 if dice.chance(0.5) else 1.0]])
    return Square(centre, side, SIDES[dice.integer(0, len(SIDES) - 1)], turned)


def _by_hand(dice: Dice, shown: Tensor) -> Tensor:
    """Shift masks by a fraction of a pixel or two, differently everywhere."""
    shift = F.interpolate(dice.normal(len(shown), 2, 4, 4), size=shown.shape[-2:], mode="bilinear") * dice.uniform(
        0, 0.6
    )
    return warp(shown.unsqueeze(1), shift)[:, 0]
