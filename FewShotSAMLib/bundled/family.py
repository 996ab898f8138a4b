"""The bundled encoder as a `sam.family.EncoderFamily`."""

from __future__ import annotations

import torch

from FewShotSAMLib.bundled.compact import CompactEncoder, FastCompact
from FewShotSAMLib.bundled.fusion import FusionLayers
from FewShotSAMLib.bundled.lora import ConvolutionFactors
from FewShotSAMLib.sam.registry import Architecture

FEW_SHOT = "FewShotSAMLib.bundled.few_shot:METHOD"

PLANES = 64
"""Approximate number of image-sized planes that the encoder holds at once."""


def image_encoder(architecture: Architecture) -> CompactEncoder:
    """Return the network with torch's initial weights."""
    return CompactEncoder(architecture.image_size)


def decoder_layers() -> FusionLayers:
    """Return the fusion decoder's layers beyond those of SAM's decoder."""
    return FusionLayers()


def fast(network: CompactEncoder, device: torch.device, dtype: torch.dtype) -> FastCompact:
    """Return the network prepared for inference."""
    return FastCompact(network, device, dtype)


def bytes_per_slice(architecture: Architecture, item_size: int) -> int:
    """Estimate the working memory of one slice in a batch, in bytes."""
    return PLANES * item_size * architecture.image_size**2


def new_factors(architecture: Architecture, rank: int) -> ConvolutionFactors:
    """Return a low-rank update for each 3 x 3 convolution of the encoder's stages."""
    return ConvolutionFactors(architecture, rank)
