"""Small U-Nets that learn from the painted slices of one volume alone; their answer is combined with the decoder's.

The pretrained decoder has never seen this volume. A network that has seen nothing else makes different errors, so that
both together are better than either (docs/benchmark.md, "what learning is worth"). It sees single slices: where slices
are thick, neighbours mislead a network that knows only three slices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from FewShotSAMLib.bundled.compact import Residual, convolution
from FewShotSAMLib.bundled.components import is_enabled
from FewShotSAMLib.methods.interface import Exemplar, Schedule, Task
from FewShotSAMLib.methods.loss import merged_unknown, segmentation_loss
from FewShotSAMLib.methods.optimiser import ScheduledAdamW
from FewShotSAMLib.methods.repeatable import repeatable
from FewShotSAMLib.sam.finite import finite_loss
from FewShotSAMLib.sam.precision import processor_has

WIDTHS = (16, 32, 64, 96)
"""Channels at a half, a quarter, an eighth and a sixteenth of the slice's side."""
STRIDE = 2
"""Pixels of the slice per pixel of the logits."""
LEAST_SIDE = 16
"""A slice's side is a multiple of this."""
MEMBERS, MEMBERS_OF_REGIONS = 4, 2
"""Number of networks for a volume, and for each of several regions in it: fewer, for the time that they take."""
SEEDS_APART = 1_000_003
LEAST_WEIGHT, MOST_WEIGHT = 0.3, 0.55
"""Bounds of the networks' weight in the combined answer."""
UNSURE, UNSURE_BEYOND = 0.2, 0.6
"""Doubt of the decoder above which the networks have their full weight: that of a probability of 1 %, or of 10 % beyond
the outermost known slices."""
STRANGE = 0.6
"""Likeness to the decoder below which the threshold falls no further."""
HELD = 0.5
"""Probability from which the first answer counts as showing a segment."""
LEAST = 1e-6
"""Probability that counts as zero."""
SCHEDULE = Schedule(steps=300, batch=4, learning_rate=2e-3, warm_up=30)
WARM_STEPS = 100
"""Training steps after a correction, continuing from the earlier weights."""

COARSE_SHARE, COARSE = 0.5, 2
"""The first part of the steps sees slices at half resolution, which takes a quarter of the time and costs no accuracy
(docs/benchmark.md)."""
PAINTED_SHARE = 0.8
"""Probability that a training slice is drawn from those that show a segment rather than from all exemplars."""
ROTATION = math.radians(15)
LOG_SCALE = math.log(1.25)
SHIFT = 0.16
"""In the units of `affine_grid`, whose side is 2."""
BENDS = ((4, 0.06), (8, 0.03))
"""Cells across the slice between which a deformation is interpolated, and its deviation in the same units."""
LOG_GAMMA, LOG_CONTRAST, BRIGHTNESS, NOISE = math.log(1.4), math.log(1.2), 0.08, 0.05


class VolumeNetwork(nn.Module):
    """Logits (B, C + 1, S/2, S/2) of background and C segments on slices (B, 1, S, S) in 0..1; 16 divides S."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = WIDTHS
        self.stem = convolution(1, half, 4, 2)
        self.down = nn.ModuleList(
            nn.Sequential(convolution(before, width, 4, 2), Residual(width))
            for before, width in ((half, quarter), (quarter, eighth), (eighth, sixteenth))
        )
        self.up = nn.ModuleList(
            nn.Sequential(convolution(below + width, width), Residual(width))
            for below, width in ((sixteenth, eighth), (eighth, quarter), (quarter, half))
        )
        self.answer = nn.Conv2d(half, class_count + 1, 1)

    def forward(self, slices: Tensor) -> Tensor:
        """Return the logits described above."""
        levels = [self.stem((slices - 0.5) * 2)]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        found = levels.pop()
        for layer in self.up:
            found = layer(torch.cat([_TwiceAsFine.apply(found), levels.pop()], dim=1))
        logits: Tensor = self.answer(found)
        return logits

    def probabilities(self, slices: Tensor) -> Tensor:
        """Return (B, C + 1, S/2, S/2) of framed slices (B, S, S) in 0..1, without augmentation."""
        with computing(slices.device):
            logits = self(slices.unsqueeze(1))
        return logits.float().softmax(dim=1)


class _TwiceAsFine(torch.autograd.Function):
    """Bilinear interpolation, channels last: several times faster on CPUs than channels first, above all backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.shape = list(values.shape)
        last = values.contiguous(memory_format=torch.channels_last)
        return F.interpolate(last, scale_factor=2.0, mode="bilinear", align_corners=False).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        last, sides = gradient.contiguous(memory_format=torch.channels_last), list(gradient.shape[-2:])
        back: Tensor = torch.ops.aten.upsample_bilinear2d_backward(last, sides, ctx.shape, False, 2.0, 2.0)
        return back.contiguous()


@dataclass(frozen=True)
class TrainingSet:
    """What a network learns from: exemplars, for how long, and a function that returns framed slices (n, S, S) in 0..1
    by index; part: the region's number in this volume, and how many regions there are; goes_on: whether the networks
    have learned before."""

    exemplars: tuple[Exemplar, ...]
    schedule: Schedule
    slices: Callable[[Sequence[int]], Tensor]
    part: tuple[int, int] = (0, 1)
    goes_on: bool = False

    @property
    def coarse_steps(self) -> float:
        """How many of the first steps see coarse slices."""
        return 0 if self.goes_on else COARSE_SHARE * self.schedule.steps

    @property
    def members(self) -> int:
        """How many networks learn it."""
        return MEMBERS if self.part[1] == 1 else MEMBERS_OF_REGIONS


class VolumeNetworks(nn.Module):
    """Networks that differ in initial weights and training batches: together they are right more often than one."""

    def __init__(self, class_count: int, count: int = MEMBERS) -> None:
        super().__init__()
        networks = [VolumeNetwork(class_count) for _ in range(count)]
        self.members: Sequence[VolumeNetwork] = nn.ModuleList(networks)  # type: ignore[assignment]

    def probabilities(self, slices: Tensor) -> Tensor:
        """Return the members' mean (B, C + 1, S/2, S/2) for framed slices (B, S, S) in 0..1, without augmentation."""
        return torch.stack([member.probabilities(slices) for member in self.members]).mean(0)


def learn_volume(networks: VolumeNetworks, training_set: TrainingSet, task: Task) -> float | None:
    """Train the networks in place, in parallel; return the mean loss of the last ten steps.

    Returns None if there is nothing to learn or the user accepts the answer as it is: do not use the networks then.
    The same seed gives the same weights on the same device with the same number of threads. Raises CancelledError, and
    BadInputError if the loss is not a number.
    """
    schedule, (number, count) = training_set.schedule, training_set.part
    before = number * schedule.steps
    losses: list[float] = []
    networks.train()
    trainings = [_steps(network, training_set, task, seed) for seed, network in enumerate(networks.members)]
    with repeatable(task.device), _parallel_map(task.device, len(trainings)) as each:
        for step in range(schedule.steps):
            task.progress("learn", before + step, count * schedule.steps)
            if task.is_enough():
                return None
            losses.append(sum(each(next, trainings)) / len(trainings))
    task.progress("learn", before + schedule.steps, count * schedule.steps)
    networks.eval()
    return sum(losses[-10:]) / len(losses[-10:]) if losses else None


def _steps(network: nn.Module, training_set: TrainingSet, task: Task, number: int) -> Iterator[float]:
    """Yield the loss of each training step."""
    schedule = training_set.schedule
    generator = torch.Generator().manual_seed(task.seed + number * SEEDS_APART)
    optimiser = ScheduledAdamW([(network.parameters(), 1.0)], schedule, fused=True)
    draw = _views(training_set, task.device, generator)
    while True:
        images, targets, weights, unknown = next(draw)
        with computing(task.device):
            logits = network(images)
        loss = segmentation_loss(merged_unknown(logits.float(), unknown), targets, weights)
        value = finite_loss(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.max_gradient)
        optimiser.step()
        yield value


@contextmanager
def _parallel_map(device: torch.device, count: int) -> Iterator[Callable[..., Iterable[float]]]:
    """Yield a `map` for `count` tasks: on several cores it runs them in threads, each with a share of torch's threads,
    as small networks alone leave cores idle."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads < 2:
        yield map
        return
    try:
        share = max(1, threads // count)
        with ThreadPoolExecutor(threads // share, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


def blended_logits(first: Tensor, second: Tensor, likeness: Tensor, weights: Tensor, beyond: Tensor) -> Tensor:
    """Combine probabilities, the decoder's (`first`) and the networks' (`second`), into logits (B, C + 1, h, w).

    likeness and weights (C,): those of a `Comparison`; beyond (B,) bool: which slices lie beyond all known ones.

    The result is a weighted mean, except where the decoder is sure: networks that know three slices make gross errors
    on others, above all beyond the outermost ones, where they have no training data.

    The threshold that maximises Dice is half of the attainable Dice, not 0.5 (Z. C. Lipton, C. Elkan and
    B. Naryanaswamy, Optimal thresholding of classifiers to maximize F1 measure, 2014). The Dice between decoder and
    networks approximates the attainable one.
    """
    surest = first.amax(dim=1, keepdim=True).clamp_min(0.5)
    doubt = (4 * surest * (1 - surest)).sqrt()
    share = (first + second)[:, 1:].clamp_min(LEAST)
    weight = (share * weights.view(1, -1, 1, 1)).sum(1, keepdim=True) / share.sum(1, keepdim=True)
    if not is_enabled("weight"):
        weight = torch.full_like(weight, 0.5)
    if is_enabled("doubt"):
        whole = torch.where(beyond, UNSURE_BEYOND, UNSURE).view(-1, 1, 1, 1)
        weight = weight * (doubt / whole).clamp_max(1)
    logits = (first + weight * (second - first)).clamp_min(LEAST).log()
    if not is_enabled("threshold"):
        return logits
    threshold = likeness.clamp_min(STRANGE) / 2
    logits[:, 1:] += (1 / threshold - 1).log().view(1, -1, 1, 1)
    return logits


def extents(exemplars: Sequence[Exemplar], answered: Mapping[int, Tensor]) -> list[range]:
    """Return, for each segment, the slices from the first to the last that shows it, painted or in the first answer
    (logits (C + 1, h, w) by slice). Beyond them, unless declared empty, the networks had no training data: what they
    find there says little about their accuracy within."""
    held = {index: (logits.float().softmax(0) >= HELD).flatten(1).any(1) for index, logits in answered.items()}
    held |= {each.slice_index: (each.target > 0).flatten(1).any(1) for each in exemplars}
    shown = [[i for i, holds in held.items() if holds[label]] for label in range(1, len(exemplars[0].target))]
    return [range(min(indices), max(indices) + 1) if indices else range(0) for indices in shown]


class Comparison:
    """Compares what decoder and networks find of each of C segments, over slices."""

    def __init__(self, class_count: int) -> None:
        self._both, self._each, self._right, self._found = torch.zeros(4, class_count)

    def add(self, first: Tensor, second: Tensor, counted: Tensor) -> None:
        """Add some slices' probabilities (B, C + 1, h, w); counted (B, C) bool: for which segments they count."""
        own = counted[:, :, None, None].float()
        one, other = first[:, 1:].float().cpu() * own, second[:, 1:].float().cpu() * own
        held = (one >= HELD).float()
        self._both += 2 * (one * other).sum((0, 2, 3))
        self._each += (one**2 + other**2).sum((0, 2, 3))
        self._right += 2 * (one * held).sum((0, 2, 3))
        self._found += (one + held).sum((0, 2, 3))

    def likeness(self) -> Tensor:
        """(C,): Dice between both's probabilities. Where it is low, the networks have seen too little or the decoder is
        wrong. 1 if neither finds anything on the slices compared."""
        return torch.where(self._each > 0, self._both / self._each.clamp_min(1), 1.0)

    def weights(self) -> Tensor:
        """(C,): the networks' weight in a mean of both: the decoder's share of their disagreement, as independent
        errors add up. The decoder's own estimate of its error (1 - the Dice to expect if its probabilities are true) is
        too low where both differ much; there, more is added. LEAST_WEIGHT where nothing was compared."""
        apart = (1 - self.likeness()).clamp_min(LEAST)
        errs = 1 - self._right / self._found.clamp_min(1)
        weights = (errs / apart + apart).clamp(LEAST_WEIGHT, MOST_WEIGHT)
        return torch.where(self._each > 0, weights, LEAST_WEIGHT)


def computing(device: torch.device) -> AbstractContextManager[None]:
    """Use half precision within this block where the device is faster with it."""
    if device.type == "cuda" or (device.type == "cpu" and (processor_has("amx") or processor_has("bf16"))):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _views(
    training_set: TrainingSet, device: torch.device, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, list[tuple[int, ...]]]]:
    """Yield augmented batches forever: slices, targets (B, C + 1, h, w), weights (B, h, w) and unknown segments."""
    exemplars, count = training_set.exemplars, training_set.schedule.batch
    slices = training_set.slices([exemplar.slice_index for exemplar in exemplars]).to(device).unsqueeze(1)
    targets = torch.stack([exemplar.target for exemplar in exemplars]).to(device).float()
    weights = torch.stack([exemplar.weight for exemplar in exemplars]).to(device).float().unsqueeze(1)
    every = list(range(len(exemplars)))
    painted = [number for number in every if bool((targets[number, 1:] > 0).any())] or every
    fine = [slices, targets, weights]
    coarse = [F.avg_pool2d(each, COARSE) for each in fine] if slices.shape[-1] % (COARSE * LEAST_SIDE) == 0 else fine
    for step in itertools.count():
        slices, targets, weights = coarse if step < training_set.coarse_steps else fine
        rows = []
        for _ in range(count):
            among = painted if float(torch.rand((), generator=generator)) < PAINTED_SHARE else every
            rows.append(among[int(torch.randint(len(among), (), generator=generator))])
        places = _bent_places(count, slices.shape[-1], generator).to(device)
        moved = F.avg_pool2d(places.movedim(-1, 1), STRIDE).movedim(1, -1)
        images = F.grid_sample(slices[rows], places, padding_mode="border", align_corners=False)
        target = F.grid_sample(targets[rows], moved, padding_mode="border", align_corners=False)
        weight = F.grid_sample(weights[rows], moved, padding_mode="zeros", align_corners=False)[:, 0]
        yield _recoloured(images, generator), target, weight, [exemplars[row].unknown for row in rows]


def _bent_places(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Return random sampling grids (B, S, S, 2): rotated, scaled, shifted and deformed. Not mirrored, as left and right
    differ in the body."""
    angle, scale = (limit * (2 * torch.rand(count, generator=generator) - 1) for limit in (ROTATION, LOG_SCALE))
    cos, sin = angle.cos() / scale.exp(), angle.sin() / scale.exp()
    shift = SHIFT * (2 * torch.rand(count, 2, generator=generator) - 1)
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    places = F.affine_grid(theta, [count, 1, side, side], align_corners=False)
    for cells, deviation in BENDS:
        strength = deviation * torch.rand(count, 1, 1, 1, generator=generator)
        bend, smooth = torch.randn(count, 2, cells, cells, generator=generator) * strength, _bicubic(cells, side)
        places = places + (smooth @ bend @ smooth.T).movedim(1, -1)
    return places


@lru_cache
def _bicubic(cells: int, side: int) -> Tensor:
    """The matrix (side, cells) that interpolates a row of cells; ten times as fast as interpolating an image."""
    return F.interpolate(torch.eye(cells)[:, None, :, None], (side, 1), mode="bicubic", align_corners=True)[
        :, 0, :, 0
    ].T


def _recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary gamma, contrast, brightness and noise of each image (B, 1, S, S)."""
    gamma, contrast, brightness, noise = torch.rand(4, len(images), 1, 1, 1, generator=generator).to(images)
    images = images.clamp(0, 1) ** ((2 * gamma - 1) * LOG_GAMMA).exp()
    images = (images - 0.5) * ((2 * contrast - 1) * LOG_CONTRAST).exp() + 0.5 + (2 * brightness - 1) * BRIGHTNESS
    return images + torch.randn(images.shape, generator=generator).to(images) * NOISE * noise
