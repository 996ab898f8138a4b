"""The bundled encoder as one of `sam.family.EncoderFamily`."""

from __future__ import annotations

import torch

from FewShotSAMLib.bundled.compact import CompactEncoder, FastCompact
from FewShotSAMLib.bundled.fusion import FusionLayers
from FewShotSAMLib.bundled.lora import ConvolutionFactors
from FewShotSAMLib.sam.registry import Architecture

FEW_SHOT = "FewShotSAMLib.bundled.few_shot:METHOD"

PLANES = 64
"""Planes of the image's size that the encoder holds at once, about."""


def image_encoder(architecture: Architecture) -> CompactEncoder:
    """The network with weights as torch initialises them."""
    return CompactEncoder(architecture.image_size)


def decoder_layers() -> FusionLayers:
    """What the fusion decoder has beyond SAM's."""
    return FusionLayers()


def fast(network: CompactEncoder, device: torch.device, dtype: torch.dtype) -> FastCompact:
    """The network for inference."""
    return FastCompact(network, device, dtype)


def bytes_per_slice(architecture: Architecture, item_size: int) -> int:
    """About the working memory of one slice in a batch."""
    return PLANES * item_size * architecture.image_size**2


def new_factors(architecture: Architecture, rank: int) -> ConvolutionFactors:
    """An update for each 3 x 3 convolution of the encoder's stages."""
    return ConvolutionFactors(architecture, rank)
