"""Synthetic anatomy: random volumes with one structure that somebody might want to segment.

Nothing here comes from a patient. Sources of the recipe: SynthSeg and SynthMorph (random intensities per label, smooth
random shapes), anatomix (many random shapes, corruption after the fact); what sparse propagation needs besides
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
    shell,
    smooth_noise,
    tube,
)

PLANE = 160
"""Side of the generated slices before the region of interest is cut out."""


@dataclass(frozen=True)
class SyntheticVolume:
    """image (D, H, W) in 0..1; target (D, H, W) bool; slice_step: pixels from slice to slice."""

    image: Tensor
    target: Tensor
    slice_step: float


def synthesise(dice: Dice) -> SyntheticVolume:
    """One random volume; tries until the target spans enough slices to be propagated."""
    while True:
        slice_step = dice.log_uniform(0.8, 10.0)
        depth = max(7, min(40, round(dice.uniform(70, 190) / slice_step)))
        space = make_space(dice, (depth, PLANE, PLANE), slice_step)
        labels, target = _label_map(dice, space, slice_step)
        held = target.flatten(1).any(1).sum()
        if held >= min(6, depth - 1) and 60 < float(target.sum()) / float(held) < 0.3 * PLANE**2:
            image = _image(dice, labels, slice_step)
            return SyntheticVolume(image, target, slice_step)


def _label_map(dice: Dice, space: Space, slice_step: float) -> tuple[Tensor, Tensor]:
    """Labels (D, H, W) and the mask of the wanted structure."""
    labels = _ground(dice, space, slice_step)
    objects = []
    for _ in range(dice.integer(4, 11)):
        solids = _objects(dice, space, slice_step)
        for solid in solids:
            label = int(labels.max()) + 1
            labels[solid > 0] = label
        objects.append(int(labels.max()))
    if dice.chance(0.05):
        wanted = labels == dice.integer(0, int(labels.max()))
    else:
        wanted = labels == objects[-1 - min(len(objects) - 1, dice.integer(0, 2))]
        if dice.chance(0.12):  # two objects under one name
            wanted |= labels == objects[dice.integer(0, len(objects) - 1)]
    return labels, wanted


def _ground(dice: Dice, space: Space, slice_step: float) -> Tensor:
    """Regions that fill space, and air around a body in some volumes."""
    cell = dice.log_uniform(28, 90)
    count = dice.integer(3, 10)
    fields = smooth_noise(dice, space.shape, (max(1.0, cell / slice_step), cell, cell), count)
    labels = fields.argmax(0) + 1
    if dice.chance(0.35):
        middle = space.extent.view(3, 1, 1, 1) / 2
        around = ((space.points - middle)[1:] / (space.extent[1:].view(2, 1, 1, 1) * 0.5)).pow(2).sum(0).sqrt()
        labels[around > dice.uniform(0.75, 1.1)] = 0
    return labels


def _objects(dice: Dice, space: Space, slice_step: float) -> list[Tensor]:
    """One solid, or a solid with its inside."""
    size = dice.log_uniform(9, 50)
    kind = dice.integer(0, 9)
    if kind <= 2:
        return [ellipsoid(dice, space, size)]
    if kind <= 4:
        return [blob(dice, space, size, slice_step)]
    if kind == 5:
        return [plate(dice, space, size * 1.2)]
    if kind == 6:
        return [branching(dice, space, max(4.0, size / 4))]
    if kind == 7:
        solid = blob(dice, space, size, slice_step) if dice.chance(0.5) else ellipsoid(dice, space, size)
        inner = solid - dice.uniform(0.12, 0.5) * size
        return [solid, inner] if dice.chance(0.5) else [inner, shell(solid, dice.uniform(0.12, 0.5) * size)]
    return [tube(dice, space, max(4.0, size / 2.5))]


def _image(dice: Dice, labels: Tensor, slice_step: float) -> Tensor:
    """Grey values of the labels, with texture, blur, bias field and noise."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    means, deviations = _tissues(dice, int(labels.max()) + 1)
    image = means[labels]
    for cell in (dice.log_uniform(1.5, 5), dice.log_uniform(5, 25)):
        texture = smooth_noise(dice, shape, (max(1.0, cell / slice_step), cell, cell))[0]
        image = image + texture * deviations[labels] * dice.uniform(0.2, 1.0)
    if dice.chance(0.6):  # grey values that change within a structure, across all of them
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
    return _contrast(dice, image)


def _tissues(dice: Dice, count: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every label's grey value: like CT, where much is alike, or like MR."""
    generator = dice.generator
    if dice.chance(0.5):
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
    return means.clamp(0, 1), deviations


def _resolution(dice: Dice, image: Tensor, slice_step: float) -> Tensor:
    """Blur, and the coarse grids that small regions are shown on once they are enlarged."""
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


def _contrast(dice: Dice, image: Tensor) -> Tensor:
    """Window, gamma, inversion: back to 0..1."""
    low, high = torch.quantile(image.flatten()[::17], torch.tensor([0.01, 0.99])).tolist()
    low, high = low - dice.uniform(0, 0.1) * (high - low), high + dice.uniform(0, 0.3) * (high - low)
    image = ((image - low) / max(1e-3, high - low)).clamp(0, 1) ** dice.log_uniform(0.6, 1.6)
    return 1 - image if dice.chance(0.25) else image
