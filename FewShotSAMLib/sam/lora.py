"""LoRA: low-rank updates of the queries and values of every block of SAM's image encoder.

The bundled encoder is no transformer: there, every 3 × 3 convolution gets an update of the same form (ours).

Source: Hu et al., LoRA (ICLR 2022), in the form that SAMed gave it for SAM (Zhang and Liu, 2023; hitachinsk/SAMed):
rank 4, on q and v, A from Kaiming's uniform distribution, B zero, no scaling. Cheap Lunch names LoRA without details;
that it is this recipe is our reading.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.checkpoint import checkpoint

from FewShotSAMLib.bundled.compact import CompactEncoder
from FewShotSAMLib.sam.registry import COMPACT, Architecture

RANK = 4
LARGE_GRID = 64
"""Cells per side from which activations are computed again for the gradient instead of kept: attention over so many
cells would take gigabytes per block."""


class LoraBlock(nn.Module):
    """The update of one block: B·A for q and for v, each (channels, channels) of the given rank."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.query_a, self.value_a = (nn.Parameter(torch.empty(rank, channels)) for _ in range(2))
        self.query_b, self.value_b = (nn.Parameter(torch.zeros(channels, rank)) for _ in range(2))
        for factor in (self.query_a, self.value_a):
            nn.init.kaiming_uniform_(factor, a=math.sqrt(5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to q and to v for normalised tokens (..., channels)."""
        return (
            F.linear(F.linear(x, self.query_a), self.query_b),
            F.linear(F.linear(x, self.value_a), self.value_b),
        )

    def weight_update(self) -> Tensor:
        """What merging adds to the block's qkv weight (3 · channels, channels); nothing for k."""
        query, value = self.query_b @ self.query_a, self.value_b @ self.value_a
        return torch.cat([query, torch.zeros_like(query), value])


class LoraConvolution(nn.Module):
    """The update of one convolution: B·A of the given rank in the shape of its weight (out, in, rows, columns)."""

    def __init__(self, shape: Sequence[int], rank: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.a = nn.Parameter(torch.empty(rank, math.prod(self.shape[1:])))
        self.b = nn.Parameter(torch.zeros(self.shape[0], rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def weight_update(self) -> Tensor:
        """What merging adds to the weight."""
        return (self.b @ self.a).view(self.shape)

    def forward(self, weight: Tensor) -> Tensor:
        """The updated weight."""
        return weight + self.weight_update()


class LoraFactors(nn.Module):
    """The updates of an encoder; with B = 0, as at first, they change nothing."""

    def __init__(self, updates: Sequence[LoraBlock | LoraConvolution]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(updates)

    def of_blocks(self) -> list[LoraBlock]:
        """Those of a transformer's blocks, first to last."""
        return [block for block in self.blocks if isinstance(block, LoraBlock)]

    def of_convolutions(self) -> list[LoraConvolution]:
        """Those of the bundled encoder's convolutions, first to last."""
        return [block for block in self.blocks if isinstance(block, LoraConvolution)]


def new_factors(architecture: Architecture, rank: int = RANK) -> LoraFactors:
    """Updates for an encoder of this architecture."""
    if architecture.kind != COMPACT:
        return LoraFactors([LoraBlock(architecture.embed_dim, rank) for _ in range(architecture.depth)])
    with torch.device("meta"):
        outline = CompactEncoder(architecture.image_size)
    return LoraFactors([LoraConvolution(layer.weight.shape, rank) for layer in _convolutions(outline)])


def adapted_hash(weights_hash: str, factors: LoraFactors) -> str:
    """SHA-256 (hex) that names weights with these updates."""
    digest = hashlib.sha256(weights_hash.encode())
    for name, tensor in factors.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def _convolutions(network: CompactEncoder) -> list[nn.Conv2d]:
    """Those that are adapted."""
    layers = [layer for layer in network.stages.modules() if isinstance(layer, nn.Conv2d)]
    return [layer for layer in layers if layer.kernel_size == (3, 3)]


class _AdaptedQkv(nn.Module):
    """A block's qkv layer with its update beside it."""

    def __init__(self, qkv: nn.Linear, update: LoraBlock) -> None:
        super().__init__()
        self.qkv = qkv
        self.update = update

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        more_query, more_value = self.update(x)
        return torch.cat([query + more_query, key, value + more_value], dim=-1)


def attach(image_encoder: Any, factors: LoraFactors) -> None:
    """Freeze an image encoder and let its blocks compute with `factors`, which alone can train."""
    image_encoder.requires_grad_(False)
    if isinstance(image_encoder, CompactEncoder):
        for layer, change in zip(_convolutions(image_encoder), factors.of_convolutions(), strict=True):
            register_parametrization(layer, "weight", change)
        return
    for block, update in zip(image_encoder.blocks, factors.of_blocks(), strict=True):
        block.attn.qkv = _AdaptedQkv(block.attn.qkv, update)


def merge(image_encoder: Any, factors: LoraFactors) -> None:
    """Add the updates to the weights of an image encoder, which then computes the same without them."""
    with torch.no_grad():
        if isinstance(image_encoder, CompactEncoder):
            for layer, change in zip(_convolutions(image_encoder), factors.of_convolutions(), strict=True):
                added = change.weight_update().to(layer.weight)
                layer.weight = nn.Parameter(layer.weight + added, requires_grad=False)
            return
        for block, update in zip(image_encoder.blocks, factors.of_blocks(), strict=True):
            weight = block.attn.qkv.weight
            # A new tensor: the old one may be shared with another encoder.
            block.attn.qkv.weight = nn.Parameter(weight + update.weight_update().to(weight), requires_grad=False)


def encode_with_gradients(image_encoder: Any, images: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
    """Embeddings (B, channels, h, w) of normalised images (B, 3, S, S), by the original layers; check() before each
    block."""
    if isinstance(image_encoder, CompactEncoder):
        check()
        return image_encoder.pyramid(images).fold()

    def run(block: Any, tokens: Tensor) -> Tensor:
        check()
        result: Tensor = block(tokens)
        return result

    tokens = image_encoder.patch_embed(images) + image_encoder.pos_embed
    recompute = torch.is_grad_enabled() and tokens.shape[1] >= LARGE_GRID
    for block in image_encoder.blocks:
        tokens = checkpoint(run, block, tokens, use_reentrant=False) if recompute else run(block, tokens)
    embeddings: Tensor = image_encoder.neck(tokens.permute(0, 3, 1, 2))
    return embeddings
