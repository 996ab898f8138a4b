"""Trains the bundled model on episodes of synthetic anatomy."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from FewShotSAMLib.bundled.train.episodes import Episode
from FewShotSAMLib.bundled.train.library import VALIDATION_FIRST, EpisodeLibrary
from FewShotSAMLib.bundled.train.model import BundledModel, earlier_of, queries_of, support_of
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.sam.registry import get_spec

FIRST_EPISODES = 48


@dataclass(frozen=True)
class Recipe:
    """All that decides what comes out, but for the hardware."""

    seed: int = 7
    steps: int = 3500
    episodes: int = 1200
    queries: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warm_up: int = 100
    average: float = 0.998
    max_gradient: float = 1.0
    flat_share: float = 0.15
    second_pass_share: float = 0.5
    foreign_share: float = 0.12
    """Episodes whose exemplars are shown as if they were of another volume."""

    def available(self, step: int) -> int:
        """How many of the episodes may be drawn from at a step: making them takes about as long as using them."""
        return min(self.episodes, FIRST_EPISODES + round(step * self.episodes / (0.7 * self.steps)))

    def factor(self, step: int) -> float:
        """Learning rate at a step as a share of the highest."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return rising * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps))))


class Trainer:
    """Model, optimiser and averaged weights, saved together so that training can go on."""

    def __init__(self, recipe: Recipe, library: EpisodeLibrary, folder: Path, device: torch.device) -> None:
        self.recipe = recipe
        self.library = library
        self.folder = folder
        self.device = device
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.model = BundledModel(get_spec("tiny")).to(device).to(memory_format=torch.channels_last)
        self.averaged = BundledModel(get_spec("tiny")).to(device).to(memory_format=torch.channels_last)
        self.averaged.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
        )
        self.step = 0
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file to go on from."""
        return self.folder / "training.pt"

    def run(self, validation: int = 24, validate_every: int = 500, save_every: int = 200) -> None:
        """Train until the recipe's steps are done, and validate on this many episodes now and then."""
        losses: list[float] = []
        started = time.monotonic()
        while self.step < self.recipe.steps:
            losses.append(self.train_step())
            self.step += 1
            if self.step % 50 == 0:
                self._log(
                    step=self.step, loss=round(sum(losses) / len(losses), 4), seconds=round(time.monotonic() - started)
                )
                losses.clear()
            if self.step % validate_every == 0 or self.step == self.recipe.steps:
                self._log(step=self.step, **self.validate(validation))
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.save()

    def train_step(self) -> float:
        """One step on one episode; returns its loss."""
        dice = Dice(torch.Generator().manual_seed(self.recipe.seed * 7_000_003 + self.step))
        number = dice.integer(0, self.recipe.available(self.step) - 1)
        episode = varied(self.library.read(number), dice)
        episode = on(episode, self.device)
        indices = drawn_queries(episode, self.recipe.queries, dice)
        flat = dice.chance(self.recipe.flat_share)
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.factor(self.step)
        foreign = dice.chance(self.recipe.foreign_share)
        support = support_of(self.model, another(episode, dice) if foreign else episode, flat)
        queries = queries_of(self.model, episode, indices, flat, foreign)
        if dice.chance(self.recipe.second_pass_share):
            with torch.no_grad():
                first = self.model.decoder(queries, support).sigmoid()
            queries = queries.again(earlier_of(episode, indices, first, foreign))
        loss = episode_loss(self.model.decoder(queries, support), episode.target[indices].float())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_gradient)
        self.optimiser.step()
        self._average()
        return float(loss.detach())

    def validate(self, count: int) -> dict[str, float]:
        """Mean Dice of the averaged weights and of the priors alone on episodes that training never sees."""
        rows = [
            validate_episode(self.averaged, on(self.library.read(VALIDATION_FIRST + number), self.device))
            for number in range(count)
        ]
        return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]} if rows else {}

    def export(self, path: Path) -> None:
        """Write the averaged weights as the registry's `tiny` reads them."""
        with atomic_path(path) as temporary:
            save_file(self.averaged.weights(), str(temporary))

    def save(self) -> None:
        """Write everything that is needed to go on."""
        content = {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "recipe": asdict(self.recipe),
        }
        unfinished = self.checkpoint.with_suffix(".part")
        torch.save(content, unfinished)
        unfinished.replace(self.checkpoint)

    def _resume(self) -> None:
        content = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.step = content["step"]
        self.model.load_state_dict(content["model"])
        self.averaged.load_state_dict(content["averaged"])
        self.optimiser.load_state_dict(content["optimiser"])

    def _average(self) -> None:
        kept = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1 - kept)

    def _log(self, **entry: float) -> None:
        line = json.dumps(entry)
        print(line, flush=True)  # noqa: T201 (the command line's progress)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(line + "\n")


def varied(episode: Episode, dice: Dice) -> Episode:
    """The episode mirrored, transposed and recoloured."""
    image, target, priors = episode.image.float(), episode.target, episode.priors
    for axis in (-1, -2):
        if dice.chance(0.5):
            image, target, priors = image.flip(axis), target.flip(axis), priors.flip(axis)
    if dice.chance(0.5):
        image, target, priors = image.transpose(-1, -2), target.transpose(-1, -2), priors.transpose(-1, -2)
    image = image.clamp(0, 1) ** dice.log_uniform(0.7, 1.4)
    image = (image - 0.5) * dice.log_uniform(0.7, 1.25) + 0.5 + dice.uniform(-0.1, 0.1)
    return Episode(image.clamp(0, 1), target, priors, episode.known, episode.slice_step)


def another(episode: Episode, dice: Dice) -> Episode:
    """The episode as it might look in another volume: turned, scaled, moved and recoloured. Its priors are void."""
    angle, scale = dice.uniform(-0.4, 0.4), dice.log_uniform(0.8, 1.25)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    theta = torch.tensor([[cos, -sin, dice.uniform(-0.2, 0.2)], [sin, cos, dice.uniform(-0.2, 0.2)]])
    moved = []
    for planes in (episode.image.float(), episode.target.float()):
        grid = F.affine_grid(theta.unsqueeze(0), [1, 1, *planes.shape[-2:]], align_corners=False).to(planes.device)
        moved.append(F.grid_sample(planes.unsqueeze(0), grid, mode="bilinear", align_corners=False)[0])
    image = moved[0].clamp(0, 1) ** dice.log_uniform(0.85, 1.2) * dice.uniform(0.9, 1.1)
    return Episode(image.clamp(0, 1), moved[1], episode.priors, episode.known, episode.slice_step)


def on(episode: Episode, device: torch.device) -> Episode:
    """The episode on a device."""
    image, target, priors = (part.to(device) for part in (episode.image, episode.target, episode.priors))
    return Episode(image, target, priors, episode.known, episode.slice_step)


def drawn_queries(episode: Episode, count: int, dice: Dice) -> list[int]:
    """A run of slices that are no exemplars, near where the structure is."""
    near = unknown(episode)
    start = dice.integer(0, max(0, len(near) - count))
    return near[start : start + count]


def unknown(episode: Episode) -> list[int]:
    """Slices that are no exemplars, from two below the first exemplar to two above the last."""
    low, high = max(0, episode.known[0] - 2), min(len(episode.image) - 1, episode.known[-1] + 2)
    near = [index for index in range(low, high + 1) if index not in episode.known]
    return near or [index for index in range(len(episode.image)) if index not in episode.known]


def episode_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy, and Dice over all slices together and over each that shows the structure."""
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    both, sums = (probability * target).sum((1, 2)), (probability + target).sum((1, 2))
    whole = 1 - (2 * both.sum() + 1) / (sums.sum() + 1)
    shown = target.sum((1, 2)) > 4
    each = (1 - (2 * both[shown] + 1) / (sums[shown] + 1)).mean() if bool(shown.any()) else whole
    return 2 * entropy + whole + 0.5 * each


def validate_episode(model: BundledModel, episode: Episode, most: int = 16) -> dict[str, float]:
    """Dice on the slices between exemplars: first pass, second pass, and each prior alone."""
    model.eval()
    indices = unknown(episode)
    start = max(0, (len(indices) - most) // 2)
    indices = indices[start : start + most]
    truth = episode.target[indices].float() >= 0.5
    with torch.inference_mode():
        support = support_of(model, episode, flat=False)
        queries = queries_of(model, episode, indices, flat=False)
        first = model.decoder(queries, support).sigmoid()
        second = model.decoder(queries.again(earlier_of(episode, indices, first)), support).sigmoid()
    priors = episode.priors[indices].float()
    return {
        "first": _dice(first >= 0.5, truth),
        "second": _dice(second >= 0.5, truth),
        "interpolation": _dice(priors[:, 0] > 0, truth),
        "transport": _dice(priors[:, 1] > 0, truth),
        "geodesic": _dice(priors[:, 2] > 0, truth),
    }


def _dice(found: Tensor, truth: Tensor) -> float:
    total = float(found.sum() + truth.sum())
    return 2 * float((found & truth).sum()) / total if total else 1.0
