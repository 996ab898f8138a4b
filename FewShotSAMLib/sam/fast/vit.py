"""A fast forward pass over the weights of segment_anything's ImageEncoderViT: same output, less work, less memory.

How it saves work; all of it is exact except for rounding:

- Window blocks pad the 64×64 token grid to 70×70. The padded tokens are zero after the norm, so their query, key and
  value are the bias of the qkv layer; linear layers run on real tokens only.
- On the CPU the work is split into pieces (one window, a few token rows) that stay in one core's cache from the first
  norm to the end of the MLP, and attention scores are never stored as a whole (`attention.py`).
- Activations between blocks stay in float32, whatever the precision of the products.

Source of the architecture: Kirillov et al., Segment Anything, ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from FewShotSAMLib.sam.fast.attention import RelativePositions, attend, attend_folded
from FewShotSAMLib.sam.fast.linear import FLOAT, Linear
from FewShotSAMLib.sam.fast.parallel import Work, one_thread_each, run_in_turn

_PIECE_TOKENS = 256
"""Approximate tokens per piece of work on the CPU: enough for full speed, few enough for the cache and many cores."""
_PIECE_QUERIES = 512
"""Approximate queries per piece of global attention on the CPU: scores, biases and sums must fit the core's cache."""


class FastViT:
    """The image encoder `official` (ImageEncoderViT with relative positions), ready for inference on one device."""

    side_by_side = False

    def __init__(self, official: Any, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device = device
        self.dtype = dtype
        patch = official.patch_embed.proj
        self.patch_size: int = patch.kernel_size[0]
        self.grid: int = official.img_size // self.patch_size
        self.patch = Linear(patch.weight.flatten(1), patch.bias, device, dtype)
        self.position = official.pos_embed.detach()[0].to(device, torch.float32)
        self.blocks = [_Block(block, device, dtype) for block in official.blocks]
        self.neck = _Neck(official.neck, device, dtype)

    @property
    def linears(self) -> list[Linear]:
        """The layers worth running in integers, in order: four per block."""
        return [layer for block in self.blocks for layer in (block.qkv, block.proj, block.rise, block.fall)]

    @property
    def is_float(self) -> bool:
        """Whether no layer runs in integers."""
        return all(layer.mode == FLOAT for layer in self.linears)

    def __call__(self, images: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """(B, 3, S, S) normalised float32 on the device -> (B, 256, h, w) float32; check() runs at least between
        blocks.

        On the CPU images are encoded one by one, so that a slice's embedding does not depend on its batch.
        """
        if self.device.type != "cpu":
            return self._forward(images, run_in_turn, check)
        with one_thread_each(check) as run:
            return torch.stack([self._forward(image.unsqueeze(0), run, check)[0] for image in images])

    def _forward(self, images: Tensor, run: Work, check: Callable[[], None] | None) -> Tensor:
        tokens = torch.empty((len(images), *self.position.shape), device=self.device)
        run(self._embed_patches, ((images, tokens, rows) for rows in _row_pieces(tokens)))
        for block in self.blocks:
            if check is not None:
                check()
            block(tokens, run)
        return self.neck(tokens, run)

    def _embed_patches(self, images: Tensor, tokens: Tensor, rows: slice) -> None:
        """Fill token rows from (B, 3, S, S): the strided convolution as a product over flattened patches."""
        size = self.patch_size
        patches = images.unflatten(2, (self.grid, size))[:, :, rows].unflatten(4, (self.grid, size))
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).to(self.dtype)
        tokens[:, rows] = self.patch(patches).float() + self.position[rows]


class _Block:
    """One transformer block; a window of 0 means attention over the whole grid."""

    def __init__(self, official: Any, device: torch.device, dtype: torch.dtype) -> None:
        attention, mlp = official.attn, official.mlp
        self.dtype = dtype
        self.window: int = official.window_size
        self.heads: int = attention.num_heads
        self.on_cpu = device.type == "cpu"
        self.norm1, self.norm2 = _Norm(official.norm1, device), _Norm(official.norm2, device)
        layers = (attention.qkv, attention.proj, mlp.lin2)
        self.qkv, self.proj, self.fall = (Linear(one.weight, one.bias, device, dtype) for one in layers)
        self.rise = Linear(mlp.lin1.weight, mlp.lin1.bias, device, dtype, gelu=True)
        tables = (attention.rel_pos_h.detach(), attention.rel_pos_w.detach())
        self.positions = RelativePositions(*(table.to(device, dtype) for table in tables))

    def __call__(self, tokens: Tensor, run: Work) -> None:
        """Update tokens (B, H, W, C) float32 in place."""
        if self.window:
            run(self._windows_block, ((piece,) for piece in self._window_pieces(tokens)))
            return
        attended = self._attend_on_cpu(tokens, run) if self.on_cpu else self._attend_on_gpu(tokens)
        run(self._finish, ((tokens[:, rows], attended[:, rows]) for rows in _row_pieces(tokens)))

    def _attend_on_cpu(self, tokens: Tensor, run: Work) -> Tensor:
        """Attention over the whole grid in pieces: (B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, channels = tokens.shape
        depth = channels // self.heads
        by_head = (batch, self.heads, height, width, depth)
        qkv = torch.empty((3, *by_head), dtype=self.dtype)
        attended = torch.empty(tokens.shape, dtype=self.dtype)
        run(self._fill_qkv, ((tokens, qkv, rows) for rows in _row_pieces(tokens)))
        run(self._attend_part, ((qkv, attended, *part) for part in self._attention_pieces(tokens)))
        return attended

    def _attend_on_gpu(self, tokens: Tensor) -> Tensor:
        """The same in a single step."""
        batch, height, width, _ = tokens.shape
        qkv = self._project(tokens).view(batch, height * width, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)
        out = attend_folded(q, k, v, self.positions, self.heads)
        return out.view(batch, self.heads, height, width, -1).permute(0, 2, 3, 1, 4).flatten(3)

    def _window_pieces(self, tokens: Tensor) -> Iterator[Tensor]:
        """Views of whole windows: neighbours in one row of windows on the CPU, all of them at once elsewhere."""
        if not self.on_cpu:
            yield tokens
            return
        columns = self.window * max(1, _PIECE_TOKENS // self.window**2)
        for row in tokens.split(self.window, dim=1):
            yield from row.split(columns, dim=2)

    def _attention_pieces(self, tokens: Tensor) -> Iterator[tuple[int, int, slice]]:
        """(image, head, query rows) with at most a quarter of the rows: enough pieces for many cores."""
        batch, height, width, _ = tokens.shape
        rows = max(1, min(-(-height // 4), _PIECE_QUERIES // width))
        for start in range(0, height, rows):
            for image in range(batch):
                for head in range(self.heads):
                    yield image, head, slice(start, min(start + rows, height))

    def _project(self, tokens: Tensor) -> Tensor:
        """(B, h, w, C) -> normalised, then qkv: (B, h, w, 3·C)."""
        return self.qkv(self.norm1(tokens).to(self.dtype))

    def _windows_block(self, tokens: Tensor) -> None:
        """Run the whole block on adjacent windows, tokens (B, h, w, C), in place."""
        batch, height, width, channels = tokens.shape
        window = self.window
        down, across = -(-height // window), -(-width // window)
        qkv = self._pad(self._project(tokens), down * window, across * window)
        qkv = qkv.view(batch, down, window, across, window, 3, self.heads, -1)
        # -> (3, batch · down · across · heads, row · column, head channels)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, window * window, channels // self.heads)
        if self.on_cpu:
            out = attend(q, k.transpose(1, 2), v, self.positions)
        else:
            out = attend_folded(q, k, v, self.positions, self.heads)
        out = out.view(batch, down, across, self.heads, window, window, -1).permute(0, 1, 4, 2, 5, 3, 6)
        out = out.reshape(batch, down * window, across * window, channels)
        self._finish(tokens, out[:, :height, :width])

    def _pad(self, qkv: Tensor, height: int, width: int) -> Tensor:
        """Pad (B, h, w, 3·C) to (B, height, width, 3·C) with the values of the official code: the qkv bias."""
        if qkv.shape[1:3] == (height, width):
            return qkv
        padded = qkv.new_empty(len(qkv), height, width, qkv.shape[-1])
        padded[:, : qkv.shape[1], : qkv.shape[2]] = qkv
        padded[:, qkv.shape[1] :] = self.qkv.bias
        padded[:, : qkv.shape[1], qkv.shape[2] :] = self.qkv.bias
        return padded

    def _fill_qkv(self, tokens: Tensor, qkv: Tensor, rows: slice) -> None:
        """Write token rows into qkv (3, B, heads, H, W, head channels)."""
        part = self._project(tokens[:, rows]).unflatten(3, (3, self.heads, -1))
        qkv[:, :, :, rows] = part.permute(3, 0, 4, 1, 2, 5)

    def _attend_part(self, qkv: Tensor, attended: Tensor, image: int, head: int, rows: slice) -> None:
        """Write one head of some query rows into attended (B, H, W, C)."""
        width, depth = qkv.shape[4:]
        q, k, v = qkv[:, image, head].unsqueeze(1).flatten(2, 3)
        queries = q[:, rows.start * width : rows.stop * width]
        out = attend(queries, k.transpose(1, 2), v, self.positions, rows.start)
        attended[image, rows, :, head * depth : (head + 1) * depth] = out.view(-1, width, depth)

    def _finish(self, tokens: Tensor, attended: Tensor) -> None:
        """Add the attention's projection and then the MLP to the tokens, in place."""
        tokens += self.proj(attended)
        tokens += self.fall(self.rise(self.norm2(tokens).to(self.dtype)))


class _Norm:
    """Layer norm over the last dimension, in float32."""

    def __init__(self, official: Any, device: torch.device) -> None:
        self.weight = official.weight.detach().to(device, torch.float32)
        self.bias = official.bias.detach().to(device, torch.float32)
        self.eps: float = official.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class _Neck:
    """Two convolutions with norms over channels, which are layer norms once channels come last."""

    def __init__(self, official: Any, device: torch.device, dtype: torch.dtype) -> None:
        first, norm1, second, norm2 = official
        self.dtype = dtype
        self.first = Linear(first.weight.flatten(1), None, device, dtype)
        self.kernel = second.weight.detach().to(device, dtype, memory_format=torch.channels_last)
        self.norm1, self.norm2 = _Norm(norm1, device), _Norm(norm2, device)

    def __call__(self, tokens: Tensor, run: Work) -> Tensor:
        """(B, H, W, C) -> (B, 256, H, W) float32."""
        batch, height, width, _ = tokens.shape
        channels = len(self.kernel)
        # With a border of zeros, so that pieces of rows can be convolved separately.
        bordered = tokens.new_zeros((batch, height + 2, width + 2, channels), dtype=self.dtype)
        out = tokens.new_empty((batch, channels, height, width))
        run(self._reduce, ((tokens, bordered, rows) for rows in _row_pieces(tokens)))
        run(self._convolve, ((bordered, out, rows) for rows in _row_pieces(tokens)))
        return out

    def _reduce(self, tokens: Tensor, bordered: Tensor, rows: slice) -> None:
        reduced = self.norm1(self.first(tokens[:, rows].to(self.dtype)).float())
        bordered[:, rows.start + 1 : rows.stop + 1, 1:-1] = reduced

    def _convolve(self, bordered: Tensor, out: Tensor, rows: slice) -> None:
        x = F.conv2d(bordered[:, rows.start : rows.stop + 2].permute(0, 3, 1, 2), self.kernel)
        out[:, :, rows] = self.norm2(x.permute(0, 2, 3, 1).float()).permute(0, 3, 1, 2)


def _row_pieces(tokens: Tensor) -> Iterator[slice]:
    """Slices of token rows of (B, H, W, C): pieces of work on the CPU, all rows at once elsewhere."""
    height, width = tokens.shape[1:3]
    step = max(1, _PIECE_TOKENS // width) if tokens.device.type == "cpu" else height
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
