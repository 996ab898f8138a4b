"""SAM's attention with decomposed relative positions, without ever writing the whole score matrix to memory.

Scores are q·k/√d + rel_h[query, key row] + rel_w[query, key column], where rel_h and rel_w are products of the query
with learned tables (Li et al., MViTv2, CVPR 2022). There are two exact forms:

- `attend` (CPU): for a few query rows of a few heads at a time, so that the scores stay in the processor's cache.
- `attend_folded` (GPU): the bias is folded into the dot product, q' = [q/√d, rel_h, rel_w], k' = [k, onehot(key row),
  onehot(key column)], so that the ordinary fused attention kernels compute it with no mask at all.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

SCRATCH_BYTES = 1 << 19
"""Scores of one head that a core holds at once: half of its own cache, which also holds biases and sums."""
_LEAST_TOTAL, _GREATEST_TOTAL = 1e-20, 1e30
"""Range of the sums of exponentials within which no significant term has under- or overflowed float32."""
_HEAD_STEP = 8
"""Fused kernels need head dimensions that are multiples of this."""


class RelativePositions:
    """The learned tables of one attention layer over a grid of H×W tokens, ready for `terms`.

    `positions_h` (2·H-1, D) and `positions_w` (2·W-1, D): entry query - key + size - 1. The official code interpolates
    tables of other lengths; SAM's checkpoints never need that.
    """

    def __init__(self, positions_h: Tensor, positions_w: Tensor) -> None:
        self.height, self.width = ((len(positions) + 1) // 2 for positions in (positions_h, positions_w))
        # In reverse order, the entries of one query follow the order of the keys.
        self._table = torch.cat([positions_h.flip(0), positions_w.flip(0)]).t().contiguous()

    def terms(self, q: Tensor, first_row: int = 0) -> tuple[Tensor, Tensor]:
        """q (N, r·W, D), r query rows of the grid from `first_row` on -> rel_h (N, r, W, H), rel_w (N, r, W, W).

        A single product with all entries contains every term, shifted by one from query to query: both are views of it.
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

    q holds r rows of the grid from `first_row` on. Fastest if keys are a transposed view of contiguous (N, H·W, D).
    """
    terms = positions.terms(q, first_row)
    if q.dtype != torch.float32:
        return _attend_fused(q, keys, v, *terms)
    # Queries last, see below.
    rel_h, rel_w = (part.permute(0, 3, 1, 2).contiguous().flatten(2) for part in terms)
    # A softmax does not change if a row's scores are shifted. The greatest bias, which one key has in full, is most of
    # the greatest score, so subtracting it keeps the exponentials in range without a search for the greatest score.
    shifted = rel_h - (rel_h.amax(1, keepdim=True) + rel_w.amax(1, keepdim=True))
    weighted, total = _attend_by_blocks(q.transpose(1, 2), keys.transpose(1, 2), v, shifted, rel_w)
    if float(total.min()) > _LEAST_TOTAL and float(total.max()) < _GREATEST_TOTAL:
        return weighted.div_(total).transpose(1, 2)
    return _attend_by_rows(q, keys, v, *terms)


def _attend_by_blocks(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
    """v weighted by the scores' exponentials (N, D, queries), and their sums (N, 1, queries), by blocks of key rows.

    q (N, D, queries); k and v (N, H·W, D); rel_h (N, H, queries), rel_w (N, W, queries). Scores have the queries last,
    so that biases, which few keys share, are added in long runs.
    """
    batch, height, queries = rel_h.shape
    width = rel_w.shape[1]
    step = min(height, max(1, SCRATCH_BYTES // (4 * queries * width)))
    scratch = q.new_empty(batch * step * width * queries)
    weighted, total = q.new_zeros(q.shape), q.new_zeros(batch, 1, queries)
    ones = q.new_ones(1, 1, step * width).expand(batch, -1, -1)
    for row in range(0, height, step):
        biases = rel_h[:, row : row + step].unsqueeze(2), rel_w.unsqueeze(1)
        keys = slice(row * width, (row + step) * width)
        scores = scratch[: batch * biases[0].shape[1] * width * queries].view(batch, -1, width, queries)
        scores = torch.add(*biases, out=scores).flatten(1, 2)
        torch.baddbmm(scores, k[:, keys], q, alpha=q.shape[1] ** -0.5, out=scores).exp_()
        torch.baddbmm(total, ones[..., : scores.shape[1]], scores, out=total)
        torch.baddbmm(weighted, v[:, keys].transpose(1, 2), scores, out=weighted)
    return weighted, total


def _attend_by_rows(q: Tensor, keys: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """The usual softmax, safe for any scores: one row of queries at a time against all keys."""
    batch, rows, width, height = rel_h.shape
    scratch = q.new_empty(batch * width * height * width)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    for row in range(rows):
        one, queries = slice(row, row + 1), slice(row * width, (row + 1) * width)
        scores = _scores(q[:, queries], keys, rel_h[:, one], rel_w[:, one], scratch)
        out[:, queries] = torch.bmm(scores.softmax(-1), v)
    return out


def _scores(q: Tensor, keys: Tensor, rel_h: Tensor, rel_w: Tensor, scratch: Tensor) -> Tensor:
    """(N, queries, keys) for some query rows and key rows, in the front of the flat `scratch`."""
    shape = (*rel_h.shape, rel_w.shape[-1])
    scores = scratch[: math.prod(shape)].view(shape)
    scores = torch.add(rel_h.unsqueeze(-1), rel_w.unsqueeze(-2), out=scores).view(len(q), q.shape[1], -1)
    return torch.baddbmm(scores, q, keys, alpha=q.shape[-1] ** -0.5, out=scores)


def _attend_fused(q: Tensor, keys: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """For narrow types: the fused kernel keeps scores in float32 internally, whereas a bmm would round them."""
    mask = (rel_h.unsqueeze(-1) + rel_w.unsqueeze(-2)).view(1, len(q), q.shape[1], -1)
    q, k, v = (part.unsqueeze(0) for part in (q, keys.transpose(1, 2), v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0]


def attend_folded(q: Tensor, k: Tensor, v: Tensor, positions: RelativePositions, heads: int) -> Tensor:
    """q, k, v (N, H·W, D), all query rows, N = images · heads -> (N, H·W, D); no mask, so any fused kernel works."""
    head_dim = q.shape[-1]
    rel_h, rel_w = (part.flatten(1, 2) for part in positions.terms(q))
    folded = head_dim + positions.height + positions.width
    pad = -folded % _HEAD_STEP
    query = F.pad(torch.cat([q * head_dim**-0.5, rel_h, rel_w], -1), (0, pad))
    places = _key_places(positions.height, positions.width, q.device, q.dtype)
    key = F.pad(torch.cat([k, places.expand(len(k), -1, -1)], -1), (0, pad))
    # Flash kernels require the same head dimension for q, k and v.
    value = F.pad(v, (0, folded + pad - head_dim))
    query, key, value = (part.unflatten(0, (-1, heads)) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :head_dim].flatten(0, 1)


@cache
def _key_places(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One-hot row and column of every key: (H·W, H + W)."""
    rows = torch.eye(height, dtype=dtype, device=device).repeat_interleave(width, 0)
    return torch.cat([rows, torch.eye(width, dtype=dtype, device=device).repeat(height, 1)], -1)
