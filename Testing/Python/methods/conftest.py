"""A mask decoder made of the official classes, small enough for quick tests, and heads that use it."""

from typing import Any

import pytest
import torch

from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Parts
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from FewShotSAMLib.sam.registry import get_spec

SamParts = tuple[MaskDecoder, PromptEncoder]


@pytest.fixture
def sam_parts() -> SamParts:
    """SAM's mask decoder and prompt encoder for embeddings of 8 x 8 cells."""
    torch.manual_seed(0)
    prompt_encoder = PromptEncoder(
        embed_dim=256, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=16
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=256, num_heads=8)
    mask_decoder = MaskDecoder(num_multimask_outputs=3, transformer=transformer, transformer_dim=256)
    return mask_decoder.eval(), prompt_encoder.eval()


@pytest.fixture
def decoder(sam_parts: SamParts) -> TokenDecoder:
    """The token decoder made of them."""
    return TokenDecoder(*sam_parts)


def new_head(name: str, sam_parts: SamParts, classes: int = 2, encoder: str = "vit_b", **settings: Any) -> Head:
    """Return a method's head for this many segments, before training."""
    torch.manual_seed(5)
    method = get_method(name).load()
    parts = Parts(*sam_parts, get_spec(encoder).architecture, classes)
    return method.new_head(parts, method.settings(**settings)).eval()
