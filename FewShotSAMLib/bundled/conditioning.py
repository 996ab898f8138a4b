"""What the bundled decoder is conditioned on besides the slices themselves: exemplars, shape priors, places."""

from __future__ import annotations

import torch
from torch import Tensor

from FewShotSAMLib.bundled.compact import Pyramid
from FewShotSAMLib.bundled.fusion import Queries, Support
from FewShotSAMLib.bundled.priors import Painted, Priors, neighbours
from FewShotSAMLib.bundled.queries import foreign_queries, places
from FewShotSAMLib.methods.interface import ExemplarFeatures

FARTHEST = 6.0
"""Beyond the outermost exemplar that shows it, a structure is looked for over this many times its radius there."""
LEAST_WAY = 32.0
"""But at least over this many pixels."""


class VolumeConditioning:
    """Exemplars and priors of one volume.

    image (D, S/2, S/2) in 0..1; known: the exemplars' slices, ascending; slice_step: distance of two slices in pixels
    of that grid.
    """

    def __init__(self, image: Tensor, known: tuple[int, ...], shown: ExemplarFeatures, slice_step: float) -> None:
        self.known = known
        self.shown = shown
        self.slice_step = slice_step
        self._image = image
        painted = Painted(known, shown.masks.float(), slice_step)
        self._spreads = painted.spreads()
        self._priors = Priors(image, painted)
        self._without: dict[int, tuple[Tensor, Painted]] = {}
        self._radii = self._priors.radii()

    def number_of(self, index: int) -> int:
        """Which exemplar slice `index` is."""
        return self.known.index(index)

    def may_contain(self, label: int, index: int) -> bool:
        """Whether segment `label` can be on a slice at all: not between two exemplars without it, nor far from the
        outermost one that shows it."""
        around = neighbours(self.known, index)
        sides = [side for side in (around.below, around.above) if side is not None]
        radius = max(float(self._radii[side, label - 1]) for side in sides)
        if radius <= 0:
            return False
        way = abs(index - self.known[sides[0]]) * self.slice_step
        return len(sides) == 2 or way <= max(LEAST_WAY, FARTHEST * radius)

    def queries(self, embeddings: Tensor, slices: list[int]) -> list[Queries]:
        """For each segment the question where it is on these slices of the volume."""
        features = Pyramid.unfold(embeddings)
        place, below, above = (part.to(embeddings.device) for part in places(slices, self.known, self.slice_step))
        maps = torch.stack([self._priors.maps(index) for index in slices]).to(embeddings)
        position = torch.tensor(slices, device=embeddings.device) * self.slice_step
        return [Queries(features, priors, place, position, below, above) for priors in maps.unbind(1)]

    def support(self, embeddings: Tensor) -> list[Support]:
        """For each segment all exemplars."""
        return self._support(embeddings, list(range(len(self.known))))

    def left_out(self, embedding: Tensor, number: int) -> tuple[list[Queries], list[Support]]:
        """The same for exemplar `number` (embedding (1, ...)), as if it had not been painted."""
        kept = [i for i in range(len(self.known)) if i != number]
        if number not in self._without:
            self._without[number] = self._priors_without(number, kept)
        maps, painted = self._without[number]
        index = self.known[number]
        place, below, above = (part.to(embedding.device) for part in places([index], painted.slices, self.slice_step))
        position = torch.tensor([index], device=embedding.device) * self.slice_step
        features = Pyramid.unfold(embedding)
        queries = [Queries(features, p, place, position, below, above) for p in maps.to(embedding).split(1)]
        return queries, self._support(embedding, kept)

    def _priors_without(self, number: int, kept: list[int]) -> tuple[Tensor, Painted]:
        """Priors (C, kinds, S/2, S/2) of an exemplar's slice from the others; only those next to it matter."""
        painted = Painted(tuple(self.known[i] for i in kept), self.shown.masks[kept].float(), self.slice_step)
        near = [i for i in (number - 1, number + 1) if 0 <= i < len(self.known)]
        first = self.known[number] - 1 if number == 0 else self.known[number - 1]
        last = self.known[number] + 1 if number == len(self.known) - 1 else self.known[number + 1]
        first, last = max(0, first), min(len(self._image) - 1, last)
        beside = Painted(tuple(self.known[i] - first for i in near), self.shown.masks[near].float(), self.slice_step)
        maps = Priors(self._image[first : last + 1], beside, self._spreads).maps(self.known[number] - first)
        return maps, painted

    def _support(self, like: Tensor, kept: list[int]) -> list[Support]:
        features = Pyramid.unfold(self.shown.features[kept].to(like))
        position = torch.tensor([self.known[i] for i in kept], device=like.device) * self.slice_step
        masks = self.shown.masks[kept].to(like)
        return [Support(features, mask, position) for mask in masks.unbind(1)]


class ForeignConditioning:
    """Exemplars of another volume: no priors, no places."""

    known: tuple[int, ...] = ()
    """Slices of the volume at hand that are exemplars: none."""

    def __init__(self, shown: ExemplarFeatures) -> None:
        self.shown = shown

    def may_contain(self, label: int, index: int) -> bool:
        """Whether segment `label` can be on a slice at all: nothing is known against it."""
        return True

    def number_of(self, index: int) -> int:
        """Which exemplar is meant while they are learned from: they are counted from 0."""
        return index

    def queries(self, embeddings: Tensor, slices: list[int]) -> list[Queries]:
        """For each segment the question where it is on these slices."""
        return [foreign_queries(Pyramid.unfold(embeddings))] * self.shown.masks.shape[1]

    def support(self, embeddings: Tensor) -> list[Support]:
        """For each segment all exemplars."""
        return self._support(embeddings, list(range(len(self.shown.masks))))

    def left_out(self, embedding: Tensor, number: int) -> tuple[list[Queries], list[Support]]:
        """Questions about exemplar `number` (embedding (1, ...)) and, for each segment, all other exemplars."""
        kept = [i for i in range(len(self.shown.masks)) if i != number]
        return self.queries(embedding, [number]), self._support(embedding, kept or [number])

    def _support(self, like: Tensor, kept: list[int]) -> list[Support]:
        features = Pyramid.unfold(self.shown.features[kept].to(like))
        position = features.half.new_zeros(len(kept))
        return [Support(features, mask, position) for mask in self.shown.masks[kept].to(like).unbind(1)]
