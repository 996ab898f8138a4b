"""SAM's own image encoders, vision transformers: the members of `family.EncoderFamily`."""

from __future__ import annotations

from functools import partial

import torch

from FewShotSAMLib.sam.fast.vit import FastViT
from FewShotSAMLib.sam.lora import BlockFactors
from FewShotSAMLib.sam.modeling import ImageEncoderViT
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS, Architecture

FEW_SHOT = ""


def image_encoder(architecture: Architecture) -> ImageEncoderViT:
    """The official class with its fixed choices: MLP ratio 4, relative positions, norm 1e-6."""
    return ImageEncoderViT(
        img_size=architecture.image_size,
        patch_size=architecture.patch_size,
        embed_dim=architecture.embed_dim,
        depth=architecture.depth,
        num_heads=architecture.num_heads,
        global_attn_indexes=architecture.global_attn_indexes,
        window_size=architecture.window_size,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        out_chans=EMBEDDING_CHANNELS,
    )


def decoder_layers() -> None:
    """None: these encoders use SAM's decoder."""


def fast(network: ImageEncoderViT, device: torch.device, dtype: torch.dtype) -> FastViT:
    """The network prepared for inference."""
    return FastViT(network, device, dtype)


def bytes_per_slice(architecture: Architecture, item_size: int) -> int:
    """Approximate working memory per slice, in blocks with attention over the whole grid."""
    tokens = architecture.embedding_size**2
    width, heads = architecture.embed_dim, architecture.num_heads
    folded = heads * (width // heads + 2 * architecture.embedding_size)
    per_token = 4 * 4 * width + 2 * 4 * width * item_size + 4 * folded * item_size
    return tokens * per_token + 3 * 4 * architecture.image_size**2


def new_factors(architecture: Architecture, rank: int) -> BlockFactors:
    """An update of q and v for each block."""
    return BlockFactors(architecture.embed_dim, architecture.depth, rank)
