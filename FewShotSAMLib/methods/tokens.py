"""Few-shot tokens: embeddings pooled over the annotated regions of the exemplars."""

from dataclasses import dataclass

import torch
from torch import Tensor

KMEANS_ROUNDS = 10
BACKGROUND = 0
NEVER = -100.0
"""Logit of a segment that no exemplar shows."""


@dataclass(frozen=True)
class FewShotSettings:
    """How exemplars become tokens.

    The paper does not say how many tokens represent a region, nor does it mention tokens of anything but the target.
    Our reading: one mean token per exemplar and segment is the minimal scheme; `background_tokens` (per exemplar) and
    `other_segments` add negative tokens, like SurgicalSAM's other classes and FoB's background prompts.
    """

    tokens_per_exemplar: int = 1
    background_tokens: int = 2
    other_segments: bool = True

    def tokens_of(self, label: int) -> int:
        """Number of tokens of a region of this label on one exemplar."""
        return self.background_tokens if label == BACKGROUND else self.tokens_per_exemplar


@dataclass(frozen=True)
class Token:
    """Pooled embedding (256,) of one class (0 background, 1..C) on one painted or empty slice.

    copy 0 is the slice itself, the others are its augmented copies.
    """

    vector: Tensor
    label: int
    slice_index: int
    copy: int = 0


def pool_tokens(embedding: Tensor, weights: Tensor, count: int) -> Tensor:
    """Up to `count` tokens (n, 256) of a region of an embedding (256, h, w); weights (h, w) is its area in each cell.

    A single token is the area-weighted mean; as areas are exact, a structure smaller than a cell still has one. Several
    tokens are the centres of a weighted k-means with farthest-point start, which is deterministic (our reading; compare
    the several prototypes per class of PGP-SAM and MAUP). An empty region has no token.
    """
    inside = weights > 0
    cells = embedding[:, inside].T
    areas = weights[inside].to(cells)
    if len(cells) == 0:
        return embedding.new_zeros(0, embedding.shape[0])
    mean = (areas[:, None] * cells).sum(dim=0, keepdim=True) / areas.sum()
    if count == 1 or len(cells) == 1:
        return mean
    centres = _farthest_points(cells, mean, min(count, len(cells)))
    for _ in range(KMEANS_ROUNDS):
        nearest = torch.cdist(cells, centres).argmin(dim=1)
        member = torch.nn.functional.one_hot(nearest, len(centres)).to(cells) * areas[:, None]
        total = member.sum(dim=0)[:, None]
        centres = torch.where(total > 0, (member.T @ cells) / total.clamp_min(1e-12), centres)
    return centres


def _farthest_points(cells: Tensor, mean: Tensor, count: int) -> Tensor:
    """The cell nearest to the mean, then repeatedly the one farthest from those already chosen."""
    chosen = [int(torch.cdist(cells, mean)[:, 0].argmin())]
    distance = torch.cdist(cells, cells[chosen])[:, 0]
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, torch.cdist(cells, cells[chosen[-1:]])[:, 0])
    return cells[chosen].clone()
