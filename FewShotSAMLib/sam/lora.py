"""LoRA: low-rank updates of an image encoder's weights; in SAM's encoders, of the queries and values in every block.

Source: Hu et al., LoRA (ICLR 2022), in the form that SAMed applies to SAM (Zhang and Liu, 2023; hitachinsk/SAMed): rank
4, on q and v, A from Kaiming's uniform distribution, B zero, no scaling. Cheap Lunch mentions LoRA without details;
this recipe is our reading.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.registry import Architecture

RANK = 4
LARGE_GRID = 64
"""Cells per side from which activations are recomputed for the gradient instead of stored: with attention over so many
cells they would take gigabytes per block."""


class LoraFactors(nn.Module, ABC):
    """The updates of an encoder; with B = 0, the initial state, they change nothing."""

    def __init__(self, updates: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(updates)

    @abstractmethod
    def attach(self, image_encoder: Any) -> None:
        """Freeze an image encoder and make it compute with these updates, which alone remain trainable."""

    @abstractmethod
    def merge(self, image_encoder: Any) -> None:
        """Add the updates to the weights of an image encoder, which then gives the same results without them."""

    @abstractmethod
    def encode(self, image_encoder: Any, images: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
        """Embeddings (B, channels, h, w) of normalised images (B, 3, S, S), by the original layers of an encoder with
        these updates attached; gradients reach the updates. check() is called before each block."""

    def adapted_hash(self, weights_hash: str) -> str:
        """SHA-256 (hex) that identifies the weights with these updates."""
        digest = hashlib.sha256(weights_hash.encode())
        for name, tensor in self.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes())
        return digest.hexdigest()


def new_factors(architecture: Architecture, rank: int = RANK) -> LoraFactors:
    """Updates for an encoder of this architecture."""
    return family_of(architecture).new_factors(architecture, rank)


class LoraBlock(nn.Module):
    """The update of one block: B·A for q and for v, each (channels, channels), of the given rank."""

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


class BlockFactors(LoraFactors):
    """The updates of a vision transformer's blocks, first to last."""

    def __init__(self, channels: int, depth: int, rank: int) -> None:
        super().__init__([LoraBlock(channels, rank) for _ in range(depth)])

    def attach(self, image_encoder: Any) -> None:
        """Wrap each block's qkv layer together with its update."""
        image_encoder.requires_grad_(False)
        for block, update in zip(image_encoder.blocks, self.blocks, strict=True):
            block.attn.qkv = _AdaptedQkv(block.attn.qkv, update)

    def merge(self, image_encoder: Any) -> None:
        with torch.no_grad():
            for block, update in zip(image_encoder.blocks, self.blocks, strict=True):
                weight, change = block.attn.qkv.weight, cast(LoraBlock, update).weight_update()
                # A new tensor: the old one may be shared with another encoder.
                block.attn.qkv.weight = nn.Parameter(weight + change.to(weight), requires_grad=False)

    def encode(self, image_encoder: Any, images: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
        """Encode with SAM's layers; for a large grid, activations are recomputed for the gradient."""

        def run(block: Any, tokens: Tensor) -> Tensor:
            check()
            return block(tokens)

        tokens = image_encoder.patch_embed(images) + image_encoder.pos_embed
        recompute = torch.is_grad_enabled() and tokens.shape[1] >= LARGE_GRID
        for block in image_encoder.blocks:
            tokens = checkpoint(run, block, tokens, use_reentrant=False) if recompute else run(block, tokens)
        return image_encoder.neck(tokens.permute(0, 3, 1, 2))


class _AdaptedQkv(nn.Module):
    """A block's qkv layer plus its update."""

    def __init__(self, qkv: nn.Linear, update: nn.Module) -> None:
        super().__init__()
        self.qkv = qkv
        self.update = update

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        more_query, more_value = self.update(x)
        return torch.cat([query + more_query, key, value + more_value], dim=-1)
