"""SAM's attention with decomposed relative positions, without the score matrix ever being written to memory whole.

Scores are q·k/√d + rel_h[query, key row] + rel_w[query, key column], where rel_h and rel_w are products of the query
with learned tables (Li et al., MViTv2, CVPR 2022). Two exact forms are here:

- `attend` (CPU): for a few query rows of a few heads at a time, so that scores stay in the processor's cache.
- `attend_folded` (GPU): the bias is folded into the dot product, q' = [q/√d, rel_h, rel_w], k' = [k, onehot(key row),
  onehot(key column)], so that the ordinary fused attention kernels compute it with no mask at all.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

SCRATCH_BYTES = 2 << 20
"""Scores one core should hold at once: about what its own cache and its share of the last-level cache hold."""
_LEAST_TOTAL, _GREATEST_TOTAL = 1e-20, 1e30
"""Sums of exponentials between which no term that counts was lost below, or overflowed above, float32's range."""
_HEAD_STEP = 8
"""Fused kernels want head dimensions that are multiples of this."""


class RelativePositions:
    """The learned tables of one attention layer over a grid of H×W tokens, ready for `terms`.

    `positions_h` (2·H-1, D) and `positions_w` (2·W-1, D): entry query - key + size - 1. The official code interpolates
    tables of other lengths; SAM's checkpoints never need that.
    """

    def __init__(self, positions_h: Tensor, positions_w: Tensor) -> None:
        self.height, self.width = ((len(positions) + 1) // 2 for positions in (positions_h, positions_w))
        # In reverse order the entries of one query stand in the order of the keys.
        self._table = torch.cat([positions_h.flip(0), positions_w.flip(0)]).t().contiguous()

    def terms(self, q: Tensor, first_row: int = 0) -> tuple[Tensor, Tensor]:
        """q (N, r·W, D), r query rows of the grid from `first_row` on -> rel_h (N, r, W, H), rel_w (N, r, W, W).

        One plain product with all entries holds every term, displaced by one from query to query: both are views of it.
        """
        batch, tokens, depth = q.shape
        rows, height, width = tokens // self.width, self.height, self.width
        every = torch.mm(q.reshape(-1, depth), self._table)
        step = every.shape[1]
        image, row, column = tokens * step, width * step, step
        rel_h = every.as_strided((batch, rows, width, height), (image, row - 1, column, 1), height - 1 - first_row)
        start = 2 * height - 1 + width - 1
        rel_w = every.as_strided((batch, rows, width, width), (image, row, column - 1, 1), start)
        return rel_h, rel_w


def attend(q: Tensor, keys: Tensor, v: Tensor, positions: RelativePositions, first_row: int = 0) -> Tensor:
    """q (N, r·W, D), keys (N, D, H·W), v (N, H·W, D), N any product of batch, windows and heads -> (N, r·W, D).

    q holds r rows of the grid from `first_row` on. Keys come transposed: products are faster if they lie so in memory.
    """
    batch, tokens, _ = q.shape
    width, key_count = positions.width, v.shape[1]
    rel_h, rel_w = positions.terms(q, first_row)
    step = max(1, SCRATCH_BYTES // (q.element_size() * batch * width * key_count))
    step = min(step, tokens // width)
    scratch = q.new_empty(batch, step, width, positions.height, width)
    out = torch.empty_like(q)
    weigh = _weigh_reduced
    if q.dtype == torch.float32:
        weigh = _weigh_float32
        # A softmax does not change by it, and it is most of the greatest score, which need not be looked for then.
        rel_h = rel_h - (rel_h.amax(-1, keepdim=True) + rel_w.amax(-1, keepdim=True))
    for row in range(0, tokens // width, step):
        rows, queries = slice(row, row + step), slice(row * width, (row + step) * width)
        bias = (rel_h[:, rows].unsqueeze(-1), rel_w[:, rows].unsqueeze(-2))
        if bias[0].shape[1] != step:  # the last rows, where the step does not divide them
            scratch = scratch.new_empty((*bias[0].shape[:-1], width))
        out[:, queries] = weigh(q[:, queries], keys, v, bias, scratch)
    return out


def _weigh_float32(q: Tensor, keys: Tensor, v: Tensor, bias: tuple[Tensor, Tensor], scratch: Tensor) -> Tensor:
    """Attention of some rows; `scratch` (N, rows, W, H, W) is overwritten."""
    scores = _scores(q, keys, bias, scratch).exp_()
    total = scores.sum(-1, keepdim=True)
    if float(total.min()) > _LEAST_TOTAL and float(total.max()) < _GREATEST_TOTAL:
        return torch.bmm(scores, v).div_(total)
    # Scores far from what their bias suggests: now the greatest of each row must be found.
    scores = _scores(q, keys, bias, scratch)
    return torch.bmm(torch.softmax(scores, -1, out=scores), v)


def _scores(q: Tensor, keys: Tensor, bias: tuple[Tensor, Tensor], scratch: Tensor) -> Tensor:
    """(N, queries, keys), in `scratch`."""
    scores = torch.add(*bias, out=scratch).view(len(q), q.shape[1], -1)
    return torch.baddbmm(scores, q, keys, alpha=q.shape[-1] ** -0.5, out=scores)


def _weigh_reduced(q: Tensor, keys: Tensor, v: Tensor, bias: tuple[Tensor, Tensor], scratch: Tensor) -> Tensor:
    """As `_weigh_float32` by the fused kernel, which keeps scores in float32 where a bmm would round them."""
    mask = torch.add(*bias, out=scratch).view(1, len(q), q.shape[1], -1)
    q, k, v = (part.unsqueeze(0) for part in (q, keys.transpose(1, 2), v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0]


def attend_folded(q: Tensor, k: Tensor, v: Tensor, positions: RelativePositions, heads: int) -> Tensor:
    """q, k, v (N, H·W, D), all query rows, N = images · heads -> (N, H·W, D); no mask, so any fused kernel will do."""
    head_dim = q.shape[-1]
    rel_h, rel_w = (part.flatten(1, 2) for part in positions.terms(q))
    folded = head_dim + positions.height + positions.width
    pad = -folded % _HEAD_STEP
    query = F.pad(torch.cat([q * head_dim**-0.5, rel_h, rel_w], -1), (0, pad))
    places = _key_places(positions.height, positions.width, q.device, q.dtype)
    key = F.pad(torch.cat([k, places.expand(len(k), -1, -1)], -1), (0, pad))
    # Flash kernels take one head dimension for q, k and v alike.
    value = F.pad(v, (0, folded + pad - head_dim))
    query, key, value = (part.unflatten(0, (-1, heads)) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :head_dim].flatten(0, 1)


@cache
def _key_places(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One-hot row and column of every key: (H·W, H + W)."""
    rows = torch.eye(height, dtype=dtype, device=device).repeat_interleave(width, 0)
    return torch.cat([rows, torch.eye(width, dtype=dtype, device=device).repeat(height, 1)], -1)
