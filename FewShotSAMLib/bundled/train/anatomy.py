"""Synthetic anatomy: random volumes with one structure that somebody might want to segment.

Nothing here comes from a patient. Sources of the recipe: SynthSeg and SynthMorph (random intensities per label, smooth
random shapes), anatomix (many random shapes, corruption afterwards); what sparse propagation needs in addition
(structures that drift and end, neighbours of the same grey, thick slices) is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from FewShotSAMLib.bundled.train.shapes import (
    Dice,
    Space,
    blob,
    branching,
    ellipsoid,
    make_space,
    plate,
    scattered,
    smooth_noise,
    standing,
    tube,
)

PLANE = 160
"""Side of the generated slices before the region of interest is cut out."""


KINDS = ("solid", "tube", "ring", "sheet", "parts", "organ")
"""Kinds of target structures: compact; long or branching; a wall or what it encloses; flat; many small parts; wall,
contents and gas together."""
BRANCHING = "branching"
"""Only those tubes that branch."""
OFTEN = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5)
"""Indices into KINDS, repeated by how often each is drawn."""
FINER = 2
"""Number of thin slices averaged into a thick one."""


@dataclass(frozen=True)
class Instance:
    """One body: image (D, H, W) in 0..1 and target (D, H, W) bool."""

    image: Tensor
    target: Tensor


@dataclass(frozen=True)
class SyntheticVolume:
    """A body with the target structure; slice_step: pixels from slice to slice; kind: of KINDS; like: "CT" or "MR".

    other: the same anatomy in another body, deformed and coloured differently; atlas (D, H, W) bool: where an imperfect
    registration of the two would place the structure. Both None unless requested.
    """

    image: Tensor
    target: Tensor
    slice_step: float
    kind: str
    like: str
    other: Instance | None = None
    atlas: Tensor | None = None


@dataclass(frozen=True)
class Tissues:
    """Mean and deviation of every label's grey value, whether dark and bright are swapped, and the modality."""

    means: Tensor
    deviations: Tensor
    inverted: bool
    like: str

    def altered(self, dice: Dice) -> Tissues:
        """Return the same tissues as another scanner or another body might show them."""
        means = self.means + 0.04 * dice.normal(len(self.means))
        return Tissues(means.clamp(0, 1), self.deviations * dice.log_uniform(0.7, 1.4), self.inverted, self.like)


def synthesise(dice: Dice, pair: bool = False, kind: str | None = None) -> SyntheticVolume:
    """Make a random volume, of a random kind unless `kind` (of KINDS, or BRANCHING) is given, with another body if
    `pair`; retries until the target spans enough slices to be propagated."""
    kind = kind or KINDS[OFTEN[dice.integer(0, len(OFTEN) - 1)]]
    while True:
        slice_step = dice.log_uniform(0.8, 10.0)
        depth = max(7, min(40, round(dice.uniform(70, 190) / slice_step)))
        # In thick slices, the wall of a heart or a vessel is partly in one slice and partly in the next.
        finer = FINER if slice_step > 2.5 and depth <= 24 and dice.chance(0.5) else 1
        space = make_space(dice, (depth * finer, PLANE, PLANE), slice_step / finer)
        labels, target = _label_map(dice, space, slice_step / finer, kind)
        coarse = _thick(target.float(), finer) >= 0.5
        if not _is_worth_painting(coarse):
            continue
        tissues = _tissues(dice, int(labels.max()) + 1)
        image = _image(dice, labels, slice_step, tissues, finer)
        if not pair:
            return SyntheticVolume(image, coarse, slice_step, kind, tissues.like)
        bent = _bent(dice, torch.stack([labels, target.long()]), slice_step / finer, dice.uniform(4, 14))
        other_target = _thick(bent[1].float(), finer) >= 0.5
        if not _is_worth_painting(other_target):
            continue
        other = Instance(_image(dice, bent[0], slice_step, tissues.altered(dice), finer), other_target)
        atlas = _bent(dice, coarse.long().unsqueeze(0), slice_step, dice.log_uniform(0.7, 7))[0] > 0
        return SyntheticVolume(image, coarse, slice_step, kind, tissues.like, other, atlas)


def _is_worth_painting(target: Tensor) -> bool:
    held = int(target.flatten(1).any(1).sum())
    return held >= min(6, len(target) - 1) and 60 < float(target.sum()) / max(1, held) < 0.3 * PLANE**2


def _thick(fine: Tensor, finer: int) -> Tensor:
    """Average groups of `finer` slices."""
    return fine if finer == 1 else fine.unflatten(0, (-1, finer)).mean(1)


def _bent(dice: Dice, labels: Tensor, slice_step: float, strength: float) -> Tensor:
    """Deform label maps (n, D, H, W), int64, by a smooth field of about `strength` pixels, a shift and a scale."""
    shape = (labels.shape[1], labels.shape[2], labels.shape[3])
    cell = dice.log_uniform(30, 80)
    field = smooth_noise(dice, shape, (max(1.0, cell / slice_step), cell, cell), 3) * strength * 0.6
    field += dice.normal(3, 1, 1, 1) * strength * 0.3
    way = torch.stack(
        [field[2] * 2 / shape[2], field[1] * 2 / shape[1], field[0] * 2 / (slice_step * shape[0])], dim=-1
    )
    base = F.affine_grid(
        torch.eye(3, 4).unsqueeze(0) * dice.log_uniform(0.93, 1.07), [1, 1, *shape], align_corners=False
    )
    moved = F.grid_sample(
        labels.float().unsqueeze(0), base + way, mode="nearest", padding_mode="border", align_corners=False
    )
    return moved[0].round().long()


def _label_map(dice: Dice, space: Space, slice_step: float, kind: str) -> tuple[Tensor, Tensor]:
    """Return labels (D, H, W) and the target structure's mask."""
    labels = _ground(dice, space, slice_step)
    count = dice.integer(4, 11)
    wanted_number = count - 1 - min(count - 1, dice.integer(0, 2))
    objects: list[list[int]] = []
    for number in range(count):
        own = kind if number == wanted_number else KINDS[OFTEN[dice.integer(0, len(OFTEN) - 1)]]
        meant = []
        for solid, belongs in _object(dice, space, slice_step, own):
            label = int(labels.max()) + 1
            labels[solid > 0] = label
            if belongs:
                meant.append(label)
        objects.append(meant)
    if dice.chance(0.03):
        return labels, labels == dice.integer(0, int(labels.max()))
    meant = objects[wanted_number]
    if dice.chance(0.08):  # two objects form one structure
        meant = meant + objects[dice.integer(0, len(objects) - 1)]
    return labels, torch.isin(labels, torch.tensor(meant))


def _ground(dice: Dice, space: Space, slice_step: float) -> Tensor:
    """Label regions that fill the space and, in some volumes, air around a body."""
    cell = dice.log_uniform(28, 90)
    count = dice.integer(3, 10)
    fields = smooth_noise(dice, space.shape, (max(1.0, cell / slice_step), cell, cell), count)
    labels = fields.argmax(0) + 1
    if dice.chance(0.35):
        middle = space.extent.view(3, 1, 1, 1) / 2
        around = ((space.points - middle)[1:] / (space.extent[1:].view(2, 1, 1, 1) * 0.5)).pow(2).sum(0).sqrt()
        labels[around > dice.uniform(0.75, 1.1)] = 0
    return labels


def _object(dice: Dice, space: Space, slice_step: float, kind: str) -> list[tuple[Tensor, bool]]:
    """Return solids, each covering those before it, and whether each is part of the target structure."""
    size = dice.log_uniform(9, 50)
    if kind == "solid":
        return [(_compact(dice, space, size, slice_step), True)]
    if kind in ("tube", BRANCHING):
        if kind == BRANCHING or dice.chance(0.3):
            return [(branching(dice, space, max(4.0, size / 4)), True)]
        return [(tube(dice, space, max(4.0, size / 2.5)), True)]
    if kind == "sheet":
        return [(plate(dice, space, size * 1.2), True)]
    if kind == "parts":
        return [(scattered(dice, space, size), True)]
    solid = standing(dice, space, size * 0.7) if dice.chance(0.5) else _compact(dice, space, size, slice_step)
    wall = max(2.0, dice.uniform(0.1, 0.45) * size)
    inner = solid - wall
    if kind == "ring":
        return [(solid, True), (inner, False)] if dice.chance(0.7) else [(solid, False), (inner, True)]
    level = dice.uniform(0.2, 0.7) * space.extent[1]
    return [(solid, True), (inner, True), (torch.minimum(inner, level - space.points[1]), True)]


def _compact(dice: Dice, space: Space, size: float, slice_step: float) -> Tensor:
    return blob(dice, space, size, slice_step) if dice.chance(0.4) else ellipsoid(dice, space, size)


def _image(dice: Dice, labels: Tensor, slice_step: float, tissues: Tissues, finer: int) -> Tensor:
    """Render the labels' grey values with texture, blur, bias field and noise; `labels` has `finer` slices for each of
    the image's."""
    shape = (labels.shape[0] // finer, labels.shape[1], labels.shape[2])
    image = _thick(tissues.means[labels], finer)
    deviations = _thick(tissues.deviations[labels], finer)
    for cell in (dice.log_uniform(1.5, 5), dice.log_uniform(5, 25)):
        texture = smooth_noise(dice, shape, (max(1.0, cell / slice_step), cell, cell))[0]
        image = image + texture * deviations * dice.uniform(0.2, 1.0)
    if dice.chance(0.6):  # a grey value drift across all structures
        image = image + 0.06 * dice.uniform(0, 1) * smooth_noise(dice, shape, (max(1.0, 60 / slice_step), 60, 60))[0]
    image = _resolution(dice, image, slice_step)
    if dice.chance(0.6):
        bias = smooth_noise(dice, shape, (max(1.0, 100 / slice_step), 100, 100))[0]
        image = image * torch.exp(bias * dice.uniform(0.02, 0.25))
    noise = dice.normal(*shape)
    if dice.chance(0.5):
        noise = _blur(noise, dice.uniform(0.4, 1.2)) * 2
    image = image + noise * dice.log_uniform(0.004, 0.07)
    if dice.chance(0.2):  # slices that differ in brightness, as interleaved acquisitions do
        image = image * (1 + 0.05 * dice.normal(shape[0], 1, 1))
    return _contrast(dice, image, tissues.inverted)


def _tissues(dice: Dice, count: int) -> Tissues:
    """Draw grey values of `count` labels: like CT, where many tissues look alike, or like MR."""
    generator = dice.generator
    like = "CT" if dice.chance(0.5) else "MR"
    if like == "CT":
        means = 0.5 + 0.09 * torch.randn(count, generator=generator)
        odd = torch.rand(count, generator=generator)
        means = torch.where(odd < 0.2, 0.05 + 0.25 * torch.rand(count, generator=generator), means)
        means = torch.where(odd > 0.88, 0.8 + 0.2 * torch.rand(count, generator=generator), means)
    else:
        means = 0.05 + 0.9 * torch.rand(count, generator=generator)
    twins = torch.rand(count, generator=generator) < 0.25
    partner = torch.randint(0, count, (count,), generator=generator)
    near = means[partner] + 0.05 * torch.randn(count, generator=generator)
    means = torch.where(twins, near, means)
    means[0] = 0.0 if dice.chance(0.8) else means[0]
    deviations = 0.06 * torch.rand(count, generator=generator) ** 1.5
    deviations[0] *= 0.1
    return Tissues(means.clamp(0, 1), deviations, dice.chance(0.25), like)


def _resolution(dice: Dice, image: Tensor, slice_step: float) -> Tensor:
    """Blur, and imitate the coarse grid that shows when a small region is enlarged."""
    image = _blur(image, dice.uniform(0.3, 1.6))
    if dice.chance(0.5):
        factor = dice.uniform(1.2, 5.0)
        size = max(24, round(image.shape[-1] / factor))
        low = F.interpolate(image.unsqueeze(1), size=(size, size), mode="area")
        image = F.interpolate(low, size=image.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    if dice.chance(0.5) and slice_step < 4:  # thick slices overlap
        weight = dice.uniform(0.05, 0.25)
        padded = torch.cat([image[:1], image, image[-1:]])
        image = (1 - 2 * weight) * image + weight * (padded[:-2] + padded[2:])
    return image


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur within slices."""
    radius = max(1, round(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(image.unsqueeze(1), (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))[:, 0]


def _contrast(dice: Dice, image: Tensor, inverted: bool) -> Tensor:
    """Apply window, gamma and inversion, back to 0..1."""
    low, high = torch.quantile(image.flatten()[::17], torch.tensor([0.01, 0.99])).tolist()
    low, high = low - dice.uniform(0, 0.1) * (high - low), high + dice.uniform(0, 0.3) * (high - low)
    image = ((image - low) / max(1e-3, high - low)).clamp(0, 1) ** dice.log_uniform(0.6, 1.6)
    return 1 - image if inverted else image
