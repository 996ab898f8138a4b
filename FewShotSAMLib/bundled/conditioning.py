"""What the bundled decoder is conditioned on in addition to the slices themselves: exemplars, shape priors, places."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from FewShotSAMLib.bundled.compact import Pyramid
from FewShotSAMLib.bundled.fusion import Queries, Support
from FewShotSAMLib.bundled.priors import Flows, Painted, Priors
from FewShotSAMLib.bundled.queries import foreign_queries, places
from FewShotSAMLib.methods.interface import ExemplarFeatures


class VolumeConditioning:
    """Exemplars and priors of one volume.

    flows: those of the slices (S/2, S/2); depth: number of slices; known: the exemplars' slices, ascending, on which
    every segment is known; slice_step: slice distance in pixels of that grid; declared, others: as in `Painted`.
    """

    def __init__(
        self,
        flows: Flows,
        depth: int,
        known: tuple[int, ...],
        shown: ExemplarFeatures,
        slice_step: float,
        declared: Tensor | None = None,
        others: Mapping[int, Tensor] | None = None,
    ) -> None:
        self.flows = flows
        self.known = known
        self.shown = shown
        self.slice_step = slice_step
        painted = Painted(known, shown.masks.float(), slice_step, declared, others or {})
        self._priors = Priors(flows, depth, painted)
        self._support: list[Support] = []
        shapes = painted.masks.cpu().numpy().swapaxes(0, 1)
        self._names = [
            tuple(hash((index, mask.tobytes())) for index, mask in zip(known, masks, strict=True)) for masks in shapes
        ]

    def said(self, index: int, label: int) -> Tensor | None:
        """Return segment `label`'s share (S/2, S/2) of each pixel of a slice; None where that is unknown."""
        return self.shown.masks[self.known.index(index), label - 1] if index in self.known else None

    def may_contain(self, label: int, index: int) -> bool:
        """Return whether segment `label` can be on a slice at all."""
        return self._priors.may_contain(label, index)

    def queries(self, embeddings: Tensor, slices: list[int]) -> list[Queries]:
        """Return one query per segment: where it is on these slices of the volume."""
        features = Pyramid.unfold(embeddings)
        place, below, above = (part.to(embeddings.device) for part in places(slices, self.known, self.slice_step))
        maps = torch.stack([self._priors.maps(index) for index in slices]).to(embeddings)
        position = torch.tensor(slices, device=embeddings.device) * self.slice_step
        return [Queries(features, priors, place, position, below, above) for priors in maps.unbind(1)]

    def support(self, embeddings: Tensor) -> list[Support]:
        """Return all exemplars, for each segment."""
        if not self._support:
            features = Pyramid.unfold(self.shown.features.to(embeddings))
            position = torch.tensor(self.known, device=embeddings.device) * self.slice_step
            masks = zip(self.shown.masks.to(embeddings).unbind(1), self._names, strict=True)
            self._support = [Support(features, mask, position, names) for mask, names in masks]
        return self._support


class ForeignConditioning:
    """Exemplars of another volume: no priors, no places."""

    def __init__(self, shown: ExemplarFeatures) -> None:
        self.shown = shown
        self._features: Pyramid | None = None

    def may_contain(self, label: int, index: int) -> bool:
        """Return True: nothing rules segment `label` out on any slice."""
        return True

    def is_known(self, label: int, number: int) -> bool:
        """Return whether segment `label` is known on exemplar `number`."""
        return number in self.shown.numbers(label)

    def said(self, index: int, label: int) -> Tensor | None:
        """Return None: nothing is known about the volume at hand."""
        return None

    def queries(self, embeddings: Tensor, slices: list[int]) -> list[Queries]:
        """Return one query per segment: where it is on these slices."""
        return [foreign_queries(Pyramid.unfold(embeddings))] * self.shown.masks.shape[1]

    def support(self, embeddings: Tensor) -> list[Support]:
        """Return all exemplars, for each segment."""
        return self._support(embeddings, list(range(len(self.shown.masks))))

    def left_out(self, like: Tensor, number: int) -> tuple[list[Queries], list[Support]]:
        """Return queries about exemplar `number` and, per segment, all other exemplars; device and dtype of `like`."""
        kept = [i for i in range(len(self.shown.masks)) if i != number]
        queries = [foreign_queries(self._unfolded(like)[[number]])] * self.shown.masks.shape[1]
        return queries, self._support(like, kept or [number])

    def _support(self, like: Tensor, kept: list[int]) -> list[Support]:
        labels = range(1, self.shown.masks.shape[1] + 1)
        whole = self._all_of(like, kept)
        known = [[row for row in kept if self.is_known(label, row)] for label in labels]
        return [
            support if rows == kept else self._all_of(like, rows or self.shown.numbers(label))[label - 1]
            for label, rows, support in zip(labels, known, whole, strict=True)
        ]

    def _all_of(self, like: Tensor, kept: list[int]) -> list[Support]:
        features = self._unfolded(like)[kept]
        position = features.half.new_zeros(len(kept))
        return [Support(features, mask, position) for mask in self.shown.masks[kept].to(like).unbind(1)]

    def _unfolded(self, like: Tensor) -> Pyramid:
        """Return the features of all exemplars, unfolded once."""
        if self._features is None:
            self._features = Pyramid.unfold(self.shown.features.to(like))
        return self._features
