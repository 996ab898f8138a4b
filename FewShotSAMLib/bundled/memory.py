"""What the exemplars show at similar and nearby places, for all structures of a slice at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from FewShotSAMLib.bundled.fusion import Queries, Support

KEY = 28
"""Features of a memory key; for the fused kernel, four more numbers encode the place."""
BLOCK = 1152
"""Query cells per block, so that their scores stay in the processor's cache."""


@dataclass(frozen=True)
class AttentionSums:
    """A slice's attention sums: total (h w, V), the sum over the exemplars with these names, divided by exp(scale)."""

    names: frozenset[tuple[int, ...]]
    scale: float
    total: Tensor


class Memory(nn.Module):
    """Attention from a slice's cells to those of all exemplars.

    Source: space-time memory networks (Oh et al., ICCV 2019); that proximity in the slice and along the axis is a
    learned part of the score is ours.
    """

    def __init__(self, features: int, values: int = 15) -> None:
        super().__init__()
        self.key = nn.Conv2d(features, KEY, 1)
        self.value = nn.Conv2d(features, values, 1)
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.nearness = nn.Parameter(torch.tensor(-4.0))
        self.axial = nn.Parameter(torch.tensor(-3.0))
        self.channels = 2 * (values + 1)

    def forward(
        self, queries: Queries, supports: Sequence[Support], sums: list[AttentionSums | None] | None = None
    ) -> list[Tensor]:
        """Return, for each structure, what was found of it and of the rest (B, channels, S/8, S/8).

        supports: one for each structure; they differ only in their masks, so that all share the attention's weights.
        sums: for each slice the sums over some of the exemplars so far, or None; the list is updated to sums over all
        exemplars. The supports need names then.
        """
        features = supports[0].features.eighth
        value = F.pad(self.value(features), (0, 0, 0, 0, 1, 0), value=1.0)  # (n, 1 + values, h, w)
        shares = [F.interpolate(s.masks.unsqueeze(1), size=features.shape[-2:], mode="area") for s in supports]
        parts = torch.cat([value, *(value * share for share in shares)], dim=1).movedim(1, -1).flatten(1, 2)
        all_, *inside = self._found(queries, supports, parts, sums).split(value.shape[1], dim=1)
        return [torch.cat([part, all_ - part], dim=1) for part in inside]

    def _found(
        self, queries: Queries, supports: Sequence[Support], values: Tensor, sums: list[AttentionSums | None] | None
    ) -> Tensor:
        """Return (B, V, h, w): the exemplars' cells' values (n, h w, V), weighted by the scores' softmax."""
        support = supports[0]
        mine, theirs = (
            F.normalize(self.key(part), dim=1) for part in (queries.features.eighth, support.features.eighth)
        )
        size = mine.shape[-2:]
        ask = mine.flatten(2).transpose(1, 2) * self.sharpness.exp()  # (B, h w, KEY)
        key = theirs.flatten(2).transpose(1, 2)  # (n, h w, KEY)
        place = _places(size, mine)
        near = 0.0 * self.nearness if queries.foreign else self.nearness.exp()
        way = (queries.position.view(-1, 1) - support.position.view(1, -1)).abs()
        behind = -self.axial.exp() * (torch.zeros_like(way) if queries.foreign else way)  # (B, n)
        if _by_blocks(mine):
            names = list(zip(*(each.names for each in supports), strict=True))
            found = _blockwise(ask, key, -near * torch.cdist(place, place).square(), behind, values, names, sums)
        else:
            found = _fused(ask, key, place, near, behind, values)
        return found.transpose(1, 2).unflatten(2, size)


def _places(size: torch.Size, like: Tensor) -> Tensor:
    """(h w, 2): the cells' places, relative to the middle."""
    sides = [torch.arange(side, device=like.device, dtype=torch.float32) - (side - 1) / 2 for side in size]
    return torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1).flatten(0, 1)


def _by_blocks(like: Tensor) -> bool:
    """Whether the fused kernel is slower than plain products, as it computes in float32 on every processor."""
    half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return like.device.type == "cpu" and half and not torch.is_grad_enabled()


def _blockwise(
    ask: Tensor,
    key: Tensor,
    near: Tensor,
    behind: Tensor,
    values: Tensor,
    names: Sequence[tuple[int, ...]],
    sums: list[AttentionSums | None] | None,
) -> Tensor:
    """(B, h w, V), exemplar by exemplar. The keys' length bounds the scores, so softmax needs no maximum."""
    keys, parts, bias = (part.bfloat16() for part in (key.transpose(1, 2), values, near))
    nearest = behind.amax(dim=1)
    weights = (behind - nearest.unsqueeze(1)).exp()  # (B, n)
    total = values.new_zeros(*ask.shape[:2], values.shape[2], dtype=torch.float32)
    cells = len(near)
    for row, asked in enumerate(ask.bfloat16()):
        numbers = [*range(len(keys))]
        if sums is not None:
            if (known := sums[row]) is not None and known.names.issubset(names):
                numbers = [number for number in numbers if names[number] not in known.names]
                total[row] = known.total * math.exp(known.scale - float(nearest[row]))
            sums[row] = AttentionSums(frozenset(names), float(nearest[row]), total[row])
        for start in range(0, cells, BLOCK):
            block = slice(start, start + BLOCK)
            for number in numbers:
                scores = torch.addmm(bias[block], asked[block], keys[number]).exp_()
                total[row, block] += weights[row, number] * (scores @ parts[number])
    return total / total[:, :, :1]  # the first value is 1 everywhere


def _fused(ask: Tensor, key: Tensor, place: Tensor, near: Tensor, behind: Tensor, values: Tensor) -> Tensor:
    """(B, h w, V) by the fused kernel: proximity is folded into the dot product, so that it needs no mask."""
    batch, (count, cells, _) = len(ask), key.shape
    ones = place.new_ones(cells, 1)
    ask = torch.cat([ask, torch.cat([2 * near * place, ones, ones], 1).to(ask).expand(batch, -1, -1)], dim=2)
    square = -near * (place**2).sum(1, keepdim=True)
    key = torch.cat([key, torch.cat([place, square], 1).to(key).expand(count, -1, -1)], dim=2)
    behind = behind.view(batch, count, 1, 1).expand(-1, -1, cells, -1).to(key)
    answer = torch.cat([key.expand(batch, -1, -1, -1), behind], dim=3).flatten(1, 2)
    values = values.flatten(0, 1).expand(batch, 1, -1, -1)
    wide = max(values.shape[3], ask.shape[2])  # the kernel only takes equal widths
    query, key, value = (F.pad(part, (0, wide - part.shape[-1])) for part in (ask[:, None], answer[:, None], values))
    found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return found[:, 0, :, : values.shape[3]]
