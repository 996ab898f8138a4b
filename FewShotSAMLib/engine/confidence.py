"""How sure the prediction is of each voxel and each slice, and which slice is worth painting next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEGLIGIBLE_SHARE = 1e-3
"""Negligible share of a slice's pixels; keeps the ratio defined if nothing is predicted."""

NEIGHBOURHOOD = 3.0
"""Distance from a painted slice, in slices, at which half of a slice's uncertainty counts in the ranking."""


@dataclass(frozen=True)
class SliceConfidence:
    """confidence 0..1: the expected Dice if the probabilities are right; doubtful: pixels expected to be wrong."""

    confidence: float
    doubtful: float


CERTAIN = SliceConfidence(1.0, 0.0)
"""For a slice that the user painted or declared empty, or on which the painted slices rule out every segment."""


def slice_confidence(probability: Tensor, best: Tensor, label: Tensor) -> SliceConfidence:
    """Confidence of one slice from its class probabilities (C + 1, rows, columns), class 0 being the background, and
    their maximum `best` and arg max `label`, both (rows, columns).

    With p the probability and y the prediction of the segments, the expected Dice is 2 sum(p y) / (sum(p) + sum(y)).
    """
    predicted = label > 0
    expected = float(probability[1:].sum())
    overlap = float(best[predicted].sum())
    negligible = NEGLIGIBLE_SHARE * label.numel()
    total = expected + float(predicted.sum())
    return SliceConfidence(
        confidence=round((2 * overlap + negligible) / (total + negligible), 4),
        doubtful=round(float((1 - best).sum()), 2),
    )


def next_slices(slices: Mapping[int, SliceConfidence], exemplars: Iterable[int], count: int) -> list[int]:
    """Up to `count` slices to paint next, most useful first.

    Usefulness is the number of doubtful pixels, discounted near painted and already suggested slices, since
    neighbouring slices teach much the same (our choice).
    """
    painted = set(exemplars)
    candidates = [index for index in slices if index not in painted]
    ranked: list[int] = []
    while candidates and len(ranked) < count:
        known = sorted(painted | set(ranked))
        best = max(candidates, key=lambda index: (_usefulness(slices[index], index, known), -index))
        if _usefulness(slices[best], best, known) <= 0:
            break
        ranked.append(best)
        candidates.remove(best)
    return ranked


def _usefulness(slice_: SliceConfidence, index: int, known: Sequence[int]) -> float:
    distance = min((abs(index - other) for other in known), default=float("inf"))
    return slice_.doubtful * (1.0 if distance == float("inf") else distance / (distance + NEIGHBOURHOOD))


def percent(best: Tensor) -> Tensor:
    """Confidence per voxel, 0..100 as uint8, from the highest of the class probabilities."""
    return (best * 100).round().to(torch.uint8)
