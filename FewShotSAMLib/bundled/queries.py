"""Queries of the bundled model's decoder: about slices between the exemplars, or about another volume."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from FewShotSAMLib.bundled.compact import Pyramid
from FewShotSAMLib.bundled.fusion import KINDS, PLACE, Queries
from FewShotSAMLib.bundled.priors import neighbours


def places(indices: Sequence[int], known: Sequence[int], slice_step: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return place (B, PLACE), below and above (B,), as in `Queries`; known: the exemplars' slices, ascending."""
    rows, below, above = [], [], []
    for index in indices:
        around = neighbours(known, index)
        gaps = [
            None if side is None else abs(index - known[side]) * slice_step for side in (around.below, around.above)
        ]
        there = [float(gap is not None) for gap in gaps]
        far = [0.0 if gap is None else math.log1p(gap) / 3 for gap in gaps]
        rows.append([*there, *far, around.share, min(slice_step, 10.0) / 10])
        below.append(-1 if around.below is None else around.below)
        above.append(-1 if around.above is None else around.above)
    return torch.tensor(rows), torch.tensor(below), torch.tensor(above)


def foreign_queries(features: Pyramid) -> Queries:
    """Return queries about slices of a volume other than the exemplars'."""
    half = features.half
    nothing = half.new_full((len(half),), -1, dtype=torch.long)
    priors = half.new_zeros(len(half), len(KINDS), *half.shape[-2:])
    place, position = half.new_zeros(len(half), PLACE), half.new_zeros(len(half))
    return Queries(features, priors, place, position, nothing, nothing, foreign=True)
