"""A mask decoder of the official classes, small enough for quick tests."""

import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

from FewShotSAMLib.methods.decoder import TokenDecoder


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
