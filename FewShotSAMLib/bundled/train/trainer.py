"""Trains the bundled model on episodes of synthetic anatomy."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from FewShotSAMLib.bundled.fusion import KINDS
from FewShotSAMLib.bundled.train.episodes import AHEAD, FAR, Episode
from FewShotSAMLib.bundled.train.library import VALIDATION_FIRST, EpisodeLibrary
from FewShotSAMLib.bundled.train.model import BundledModel, earlier_of, queries_of, support_of
from FewShotSAMLib.bundled.train.shapes import Dice
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.sam.registry import get_spec


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result, except for the hardware."""

    seed: int = 11
    steps: int = 4000
    batch: int = 2
    """Episodes per step."""
    window: int = 96
    """Episodes that may be drawn at any time; the window advances so that each is drawn `uses` times on average."""
    uses: float = 1.5
    queries: int = 8
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    warm_up: int = 100
    average: float = 0.998
    max_gradient: float = 1.0
    flat_share: float = 0.15
    second_pass_share: float = 0.5
    foreign_share: float = 0.7
    """How often exemplars of another body are used, where an episode has one."""
    atlas_share: float = 0.7
    """How often its registered label accompanies them."""

    def first(self, step: int) -> int:
        """Return the number of the first episode that may be drawn at a step."""
        return int(step * self.batch / self.uses)

    def factor(self, step: int) -> float:
        """Return the learning rate at a step as a share of the highest."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return rising * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps))))


class Trainer:
    """Model, optimiser and averaged weights, saved together so that training can resume."""

    def __init__(
        self,
        recipe: Recipe,
        library: EpisodeLibrary,
        folder: Path,
        device: torch.device,
        start: Path | None = None,
        half: bool = False,
    ) -> None:
        """start: initial weights, as `export` writes them; half: compute in bfloat16."""
        self.recipe = recipe
        self.library = library
        self.folder = folder
        self.device = device
        self._half = half
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.model = BundledModel(get_spec("tiny")).to(device).to(memory_format=torch.channels_last)
        if start is not None:
            self.model.load_weights(load_file(start))
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
        """The file to resume from."""
        return self.folder / "training.pt"

    def run(self, validation: int = 200, validate_every: int = 1000, save_every: int = 200) -> None:
        """Train until the recipe's steps are done, validating on `validation` episodes every `validate_every` steps."""
        losses: list[float] = []
        started = time.monotonic()
        while self.step < self.recipe.steps:
            losses.append(self.train_step())
            self.step += 1
            if self.step % 50 == 0:
                seconds = round(time.monotonic() - started)
                self._log(step=self.step, loss=round(sum(losses) / len(losses), 4), seconds=seconds)
                losses.clear()
            if self.step % validate_every == 0 or self.step == self.recipe.steps:
                self._log(step=self.step, **summary(self.validate(validation)))
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.save()

    def train_step(self) -> float:
        """Train one step on a few episodes; return the mean of their losses."""
        dice = Dice(torch.Generator().manual_seed(self.recipe.seed * 7_000_003 + self.step))
        first = self.recipe.first(self.step)
        self.library.forget_before(first)
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.factor(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        for _ in range(self.recipe.batch):
            number = first + dice.integer(0, self.recipe.window - 1)
            loss = self._loss(on(varied(self.library.read(number), dice), self.device), dice)
            (loss / self.recipe.batch).backward()
            losses.append(float(loss.detach()))
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_gradient)
        self.optimiser.step()
        self._average()
        return sum(losses) / len(losses)

    def _loss(self, episode: Episode, dice: Dice) -> Tensor:
        flat = dice.chance(self.recipe.flat_share)
        foreign = episode.is_pair and dice.chance(self.recipe.foreign_share)
        atlas = foreign and dice.chance(self.recipe.atlas_share)
        indices = drawn_queries(episode, self.recipe.queries, dice, foreign)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            support = support_of(self.model, episode, flat, foreign)
            queries = queries_of(self.model, episode, indices, flat, foreign, atlas)
            if dice.chance(self.recipe.second_pass_share):
                with torch.no_grad():
                    first = self.model.decoder(queries, support).float().sigmoid()
                queries = queries.again(earlier_of(episode, indices, first, foreign))
            logits = self.model.decoder(queries, support).float()
        return episode_loss(logits, episode.target[indices].float())

    def validate(self, count: int) -> list[dict[str, Any]]:
        """Return a row for each of `count` episodes that training never sees, predicted with the averaged weights."""
        episodes = (on(self.library.read(VALIDATION_FIRST + number), self.device) for number in range(count))
        return [{"episode": number, **validate_episode(self.averaged, one)} for number, one in enumerate(episodes)]

    def export(self, path: Path) -> None:
        """Write the averaged weights in the format that the registry's `tiny` reads."""
        with atomic_path(path) as temporary:
            save_file(self.averaged.weights(), str(temporary))

    def save(self) -> None:
        """Write everything needed to resume."""
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

    def _log(self, **entry: Any) -> None:
        line = json.dumps(entry)
        print(line, flush=True)  # noqa: T201 (the command line's progress)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(line + "\n")


def varied(episode: Episode, dice: Dice) -> Episode:
    """Return the episode, randomly mirrored, transposed and recoloured."""
    parts = [episode.image.float(), episode.target, episode.priors]
    if episode.is_pair:
        parts += [episode.other.float(), episode.other_target, episode.atlas]
    for axis in (-1, -2):
        if dice.chance(0.5):
            parts = [part.flip(axis) for part in parts]
    if dice.chance(0.5):
        parts = [part.transpose(-1, -2) for part in parts]
    gamma, contrast, brightness = dice.log_uniform(0.7, 1.4), dice.log_uniform(0.7, 1.25), dice.uniform(-0.1, 0.1)
    for number in range(0, len(parts), 3):  # both bodies alike, as one window serves both
        image = (parts[number].clamp(0, 1) ** gamma - 0.5) * contrast + 0.5 + brightness
        parts[number] = image.clamp(0, 1)
    names = ("image", "target", "priors", "other", "other_target", "atlas")
    changed: dict[str, Any] = dict(zip(names, parts, strict=False))
    return replace(episode, **changed)


def on(episode: Episode, device: torch.device) -> Episode:
    """Return the episode on a device."""
    moved: dict[str, Any] = {
        name: value.to(device) for name, value in vars(episode).items() if isinstance(value, Tensor)
    }
    return replace(episode, **moved)


def drawn_queries(episode: Episode, count: int, dice: Dice, foreign: bool = False) -> list[int]:
    """Draw consecutive slices that are not exemplars, near the structure."""
    near = unknown(episode, foreign)
    start = dice.integer(0, max(0, len(near) - count))
    return near[start : start + count]


def unknown(episode: Episode, foreign: bool = False) -> list[int]:
    """Return slices that are not exemplars, from AHEAD below the first exemplar to AHEAD above the last, or FAR where
    the end is not declared; foreign: this body's exemplars count as any other slice."""
    ends = [float(episode.target[episode.known[side]].max()) for side in (0, -1)]
    below, above = (FAR if end > 0 else AHEAD for end in ends)
    low, high = max(0, episode.known[0] - below), min(len(episode.image) - 1, episode.known[-1] + above)
    near = [index for index in range(low, high + 1) if foreign or index not in episode.known]
    return near or [index for index in range(len(episode.image)) if index not in episode.known]


def episode_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return cross entropy plus Dice loss, over all slices together and over each that shows the structure."""
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    both, sums = (probability * target).sum((1, 2)), (probability + target).sum((1, 2))
    whole = 1 - (2 * both.sum() + 1) / (sums.sum() + 1)
    shown = target.sum((1, 2)) > 4
    each = (1 - (2 * both[shown] + 1) / (sums[shown] + 1)).mean() if bool(shown.any()) else whole
    return 2 * entropy + whole + 0.5 * each


def validate_episode(model: BundledModel, episode: Episode, most: int = 24) -> dict[str, Any]:
    """Return the episode's properties and the Dice on slices that are not exemplars: first pass, second pass, each
    prior alone; and, where there is another body, with its exemplars and its registered label."""
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
    row: dict[str, Any] = {
        "kind": episode.kind,
        "like": episode.like,
        "exemplars": sum(float(episode.target[index].max()) > 0 for index in episode.known),
        "gap": round(episode.gap, 1),
        "first": _dice(first >= 0.5, truth),
        "second": _dice(second >= 0.5, truth),
        **{kind: _dice(priors[:, number] > 0, truth) for number, kind in enumerate(KINDS)},
    }
    return row | (_validate_pair(model, episode, indices, truth) if episode.is_pair else {})


def _validate_pair(model: BundledModel, episode: Episode, indices: list[int], truth: Tensor) -> dict[str, float]:
    with torch.inference_mode():
        support = support_of(model, episode, False, foreign=True)
        found = [
            model.decoder(queries_of(model, episode, indices, False, True, atlas), support) > 0
            for atlas in (False, True)
        ]
    label = episode.atlas[indices, 0].float() > 0
    return {"foreign": _dice(found[0], truth), "registered": _dice(found[1], truth), "atlas": _dice(label, truth)}


STRATA: dict[str, Callable[[dict[str, Any]], str]] = {
    "kind": lambda row: row["kind"],
    "like": lambda row: row["like"],
    "exemplars": lambda row: str(min(row["exemplars"], 5)),
    "gap": lambda row: "near" if row["gap"] < 8 else "far" if row["gap"] > 20 else "middle",
}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each Dice, and of the second pass by stratum."""
    names = ("first", "second", *KINDS, "foreign", "registered", "atlas")
    means: dict[str, Any] = {name: _mean([row[name] for row in rows if name in row]) for name in names}
    for stratum, group_of in STRATA.items():
        groups = sorted({group_of(row) for row in rows})
        means[stratum] = {g: _mean([row["second"] for row in rows if group_of(row) == g]) for g in groups}
    return means


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _dice(found: Tensor, truth: Tensor) -> float:
    total = float(found.sum() + truth.sum())
    return 2 * float((found & truth).sum()) / total if total else 1.0
