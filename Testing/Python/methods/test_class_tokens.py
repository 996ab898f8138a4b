"""The decoder with a token per class: all classes in one sequence, LoRA's factors saved along with it."""

import torch
from methods.conftest import SamParts, new_head

from FewShotSAMLib.sam.registry import get_spec


def test_every_class_has_a_mask_and_all_tokens_attend_to_each_other(sam_parts: SamParts) -> None:
    head = new_head("synthesis", sam_parts, 5)
    embeddings = torch.randn(2, 256, 8, 8)
    with torch.no_grad():
        before = head.logits(embeddings)
        head.mask_tokens[3] += 1.0
        after = head.logits(embeddings)
    assert before.shape == (2, 6, 32, 32)
    assert not torch.isclose(before, after).flatten(2).all(dim=2).any(), "every class hears of a change in one"
    assert head.encoder_updates is None


def test_decoder_and_factors_train_and_are_saved_together(sam_parts: SamParts) -> None:
    head, architecture = new_head("lora", sam_parts, 1), get_spec("vit_b").architecture
    assert head.encoder_updates is not None
    head.logits(torch.randn(1, 256, 8, 8)).square().mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.requires_grad
        assert (parameter.grad is not None) == (not name.startswith("lora.")), name
    saved = head.state_dict()
    assert sum(name.startswith("lora.") for name in saved) == 4 * architecture.depth
    assert saved["lora.blocks.0.query_a"].shape == (4, architecture.embed_dim)
