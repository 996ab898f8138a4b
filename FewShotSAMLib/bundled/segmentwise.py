"""Conditioning where segments are painted on different slices: each has its own exemplars, priors and places."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from FewShotSAMLib.bundled.conditioning import VolumeConditioning
from FewShotSAMLib.bundled.fusion import Queries, Support
from FewShotSAMLib.bundled.priors import Flows
from FewShotSAMLib.methods.interface import ExemplarFeatures


def known_on(unknown: Sequence[Collection[int]], count: int) -> Tensor | None:
    """Return `ExemplarFeatures.known` (n, count) of n exemplars, given the labels that are unknown on each."""
    if not any(unknown):
        return None
    return torch.tensor([[label not in labels for label in range(1, count + 1)] for labels in unknown])


def conditioning_of(
    flows: Flows,
    depth: int,
    known: tuple[int, ...],
    shown: ExemplarFeatures,
    slice_step: float,
    declared: Tensor | None,
    assumed: Collection[int] = (),
) -> VolumeConditioning | SegmentwiseConditioning:
    """Combine one volume's exemplars and priors; arguments as for `VolumeConditioning`, but segments may be unknown on
    some slices; assumed: slices whose labels are merely likely, so that they are predicted as well."""
    if shown.known is None:
        return VolumeConditioning(flows, depth, known, shown, slice_step, declared)
    return SegmentwiseConditioning(flows, depth, known, shown, slice_step, declared, assumed)


class SegmentwiseConditioning:
    """A `VolumeConditioning` for each group of segments that are known on the same exemplars.

    Where a group is unknown on a slice, another segment's pixels there at least do not belong to the group. Arguments
    as for `conditioning_of`; known: the slices on which any segment is known.
    """

    def __init__(
        self,
        flows: Flows,
        depth: int,
        known: tuple[int, ...],
        shown: ExemplarFeatures,
        slice_step: float,
        declared: Tensor | None,
        assumed: Collection[int] = (),
    ) -> None:
        self.flows, self.shown = flows, shown
        self._assumed = frozenset(assumed)
        count = shown.masks.shape[1]
        members: dict[tuple[int, ...], list[int]] = {}
        for label in range(1, count + 1):
            members.setdefault(tuple(shown.numbers(label)), []).append(label - 1)
        if declared is None:
            declared = (shown.masks == 0).flatten(1).all(1).cpu().unsqueeze(1).expand(-1, count)
        self._groups: dict[int, tuple[VolumeConditioning, int]] = {}
        for rows, places in members.items():
            numbers = list(rows)
            own = ExemplarFeatures(shown.features[numbers], shown.masks[numbers][:, places])
            rest = [number for number in range(len(known)) if number not in numbers]
            others = {known[number]: (shown.masks[number] >= 0.5).any(0).cpu() for number in rest}
            mine = tuple(known[number] for number in numbers)
            ends = declared[numbers][:, places]
            group = VolumeConditioning(flows, depth, mine, own, slice_step, ends, others)
            self._groups |= {place + 1: (group, position) for position, place in enumerate(places)}

    def may_contain(self, label: int, index: int) -> bool:
        """Return whether segment `label` can be on a slice at all and has to be predicted there."""
        group, position = self._groups[label]
        is_open = index not in group.known or index in self._assumed
        return is_open and group.may_contain(position + 1, index)

    def said(self, index: int, label: int) -> Tensor | None:
        """Return segment `label`'s share (S/2, S/2) of each pixel of a slice; None where that is unknown."""
        group, position = self._groups[label]
        return group.said(index, position + 1)

    def queries(self, embeddings: Tensor, slices: list[int]) -> list[Queries]:
        """Return one query per segment: where it is on these slices of the volume."""
        asked = {id(group): group.queries(embeddings, slices) for group, _ in self._groups.values()}
        return [asked[id(group)][position] for _, (group, position) in sorted(self._groups.items())]

    def support(self, embeddings: Tensor) -> list[Support]:
        """Return, for each segment, the exemplars on which it is known."""
        given = {id(group): group.support(embeddings) for group, _ in self._groups.values()}
        return [given[id(group)][position] for _, (group, position) in sorted(self._groups.items())]
