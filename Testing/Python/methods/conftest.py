"""A mask decoder and an image encoder of the official classes, small enough for quick tests."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from FewShotSAMLib.sam.registry import Architecture, EncoderSpec, build_sam, get_spec


@pytest.fixture
def sam_parts() -> tuple[MaskDecoder, PromptEncoder]:
    """SAM's mask decoder and prompt encoder for embeddings of 8 x 8 cells."""
    torch.manual_seed(0)
    prompt_encoder = PromptEncoder(
        embed_dim=256, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=16
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=256, num_heads=8)
    mask_decoder = MaskDecoder(num_multimask_outputs=3, transformer=transformer, transformer_dim=256)
    return mask_decoder.eval(), prompt_encoder.eval()


@pytest.fixture
def decoder(sam_parts: tuple[MaskDecoder, PromptEncoder]) -> TokenDecoder:
    """The token decoder made of them."""
    return TokenDecoder(*sam_parts)


@dataclass(frozen=True)
class SmallVitB:
    """A network of the official classes with vit_b's layout at a reduced size, random weights."""

    spec: EncoderSpec
    image_encoder: Any


@pytest.fixture
def small_vit_b() -> SmallVitB:
    """Four blocks, two of them global, and windows that need padding."""
    architecture = Architecture(
        image_size=128, patch_size=16, embed_dim=48, depth=4, num_heads=4, global_attn_indexes=(1, 3), window_size=6
    )
    spec = dataclasses.replace(get_spec("vit_b"), name="small", architecture=architecture)
    torch.manual_seed(3)
    network = build_sam(spec).image_encoder
    for name, parameter in network.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return SmallVitB(spec, network)
