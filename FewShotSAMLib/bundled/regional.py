"""Segments predicted in separate regions, each at the resolution it needs, combined in one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from FewShotSAMLib.bundled.fusion_head import NETWORK, FusionHead
from FewShotSAMLib.methods.interface import Predictor, RegionTask, State, Task
from FewShotSAMLib.methods.tokens import NEVER
from FewShotSAMLib.sam.framing import Framing, resampled_logits

FINEST = 4
"""How many times finer the answer can be, at most, than that of a single region."""


@dataclass(frozen=True)
class RegionalHead(Predictor):
    """A head for each region, all with the same decoder; together they answer as a single one would, only finer.

    regions: those of the task; heads: one per region; framing: shows all regions; class_count: number of all segments.
    """

    regions: Sequence[RegionTask]
    heads: Sequence[FusionHead]
    framing: Framing
    class_count: int

    passes = FusionHead.passes
    needs_region = False

    @property
    def learned_more(self) -> bool:  # type: ignore[override]
        """Whether networks of the volume contribute to the answer in any of the regions."""
        return any(head.learned_more for head in self.heads)

    def predict(self, embeddings: Tensor, slices: Sequence[int], number: int = 0) -> Tensor:
        """Return logits (B, C + 1, H, W), as fine as the smallest region's; the first pass's are not combined."""
        side = self._side()
        device = next(self.heads[0].parameters()).device
        found = torch.full((len(slices), self.class_count + 1, side, side), NEVER, device=device)
        found[:, 0] = 0.0
        parts = embeddings.chunk(len(self.regions), dim=1)
        for region, head, part in zip(self.regions, self.heads, parts, strict=True):
            rows = [row for row, index in enumerate(slices) if region.needs(index)]
            if not rows:
                continue
            logits = head.predict(part[rows], [slices[row] for row in rows], number)
            if number == 0:
                continue  # only the next pass needs the first one's answer, and the head keeps it
            # Each head knows only its own segments; the background is what they have in common.
            down, across, values = resampled_logits(
                logits[:, 1:] - logits[:, :1], region.task.embeddings.framing, self.framing, side
            )
            for place, label in enumerate(region.labels):
                found[rows, label, down, across] = values[:, place]
        return found

    def learn_more(self, task: Task) -> bool:
        """Train networks in each region; discard all of them if the user does not wait until the last is trained."""
        for head in self.heads:
            head.learn_more(task)
        if task.is_enough():
            for head in self.heads:
                head.forget_network()
        return self.learned_more

    def state(self) -> State:
        """Return the state of a single head without the volume's networks."""
        own = self.heads[0].state()
        return replace(own, tensors={name: each for name, each in own.tensors.items() if not name.startswith(NETWORK)})

    def _side(self) -> int:
        """Return the logits' side: fine enough for the smallest region, or for the slice's own pixels."""
        own = [region.task.embeddings.framing.pixel_mm for region in self.regions]
        wanted = max(min(own), min(self.framing.plane.spacing) / 2)  # logits have half of the pixels
        finer = next(
            factor for factor in (1, 2, FINEST) if factor == FINEST or self.framing.pixel_mm <= wanted * factor
        )
        return self.framing.size // FusionHead.logit_stride * finer


def local(changed: Mapping[int, frozenset[int]], labels: Sequence[int]) -> dict[int, frozenset[int]]:
    """Return what changed on each slice, for a region's segments and in that region's numbering."""
    places = {label: place for place, label in enumerate(labels, start=1)}
    return {index: frozenset(places[each] for each in found if each in places) for index, found in changed.items()}
