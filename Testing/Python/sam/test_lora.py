"""LoRA changes nothing at first, trains alone, and gives the same result merged into the weights or not."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from FewShotSAMLib.bundled.compact import CompactEncoder, FastCompact
from FewShotSAMLib.core.errors import CancelledError
from FewShotSAMLib.sam import lora
from FewShotSAMLib.sam.fast.vit import FastViT
from FewShotSAMLib.sam.lora import BlockFactors, LoraFactors, new_factors
from FewShotSAMLib.sam.registry import get_spec


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(2))


def factors_of(network: Any, random_b: bool) -> LoraFactors:
    torch.manual_seed(4)
    factors = BlockFactors(network.pos_embed.shape[-1], len(network.blocks), 4)
    if random_b:
        for block in factors.blocks:
            nn.init.normal_(block.query_b, std=0.2)
            nn.init.normal_(block.value_b, std=0.2)
    return factors


def test_without_b_the_encoder_is_exactly_the_frozen_one(network: Any, images: torch.Tensor) -> None:
    with torch.no_grad():
        official = network(images)
        factors = factors_of(network, random_b=False)
        merged = copy.deepcopy(network)
        factors.merge(merged)
        assert torch.equal(merged(images), official)
        factors.attach(network)
        assert torch.equal(factors.encode(network, images), official)


def test_merged_equals_unmerged(network: Any, images: torch.Tensor) -> None:
    factors = factors_of(network, random_b=True)
    merged = copy.deepcopy(network)
    with torch.no_grad():
        official = network(images)
        factors.merge(merged)
        factors.attach(network)
        beside = factors.encode(network, images)
        assert float((beside - official).abs().max()) > 0.1, "the update shows"
        torch.testing.assert_close(merged(images), beside, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(FastViT(merged, torch.device("cpu"))(images), beside, rtol=1e-3, atol=1e-4)
    for before, after in zip(network.blocks, merged.blocks, strict=True):
        old, new = before.attn.qkv.qkv.weight.chunk(3), after.attn.qkv.weight.chunk(3)
        assert [torch.equal(a, b) for a, b in zip(old, new, strict=True)] == [False, True, False], "q and v alone"


def test_only_the_factors_learn(network: Any, images: torch.Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    factors = factors_of(network, random_b=False)
    factors.attach(network)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for step in range(2):  # with B = 0 nothing reaches A in the first step
        optimiser.zero_grad()
        factors.encode(network, images).square().mean().backward()
        optimiser.step()
        for block in factors.blocks:
            assert bool(block.query_b.grad.any()) and bool(block.value_b.grad.any())
            assert bool(block.query_a.grad.any()) == bool(block.value_a.grad.any()) == (step > 0)
    for name, tensor in network.state_dict().items():
        if "update" not in name:
            assert torch.equal(tensor, before[name.replace("qkv.qkv", "qkv")]), name
    trained = {id(p) for p in network.parameters() if p.requires_grad}
    assert trained == {id(p) for p in factors.parameters()}


def test_recomputing_saves_memory_and_changes_no_gradient(
    network: Any, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = []
    for grid in (1000, 1):
        monkeypatch.setattr(lora, "LARGE_GRID", grid)
        adapted = copy.deepcopy(network)
        factors = factors_of(adapted, random_b=True)
        factors.attach(adapted)
        factors.encode(adapted, images).square().mean().backward()
        gradients.append([parameter.grad for parameter in factors.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)


@pytest.mark.parametrize("passes", [1, 5])
def test_cancelling_is_heard_forward_and_backward(
    network: Any, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    monkeypatch.setattr(lora, "LARGE_GRID", 1)
    factors = factors_of(network, random_b=True)
    factors.attach(network)
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) > passes:
            raise CancelledError("The run was cancelled.")

    with pytest.raises(CancelledError):
        factors.encode(network, images, check).mean().backward()


def test_the_bundled_encoder_is_adapted_in_its_convolutions() -> None:
    torch.manual_seed(6)
    network = CompactEncoder(64).eval()
    images = torch.randn(1, 3, 64, 64)
    factors = new_factors(get_spec("tiny").architecture)
    with torch.no_grad():
        original = network(images)
        factors.merge(unchanged := copy.deepcopy(network))
        assert torch.equal(unchanged(images), original)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    untrained = factors.adapted_hash("abc")
    frozen = copy.deepcopy(network)
    factors.attach(network)
    assert torch.equal(factors.encode(network, images), original)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        factors.encode(network, images).square().mean().backward()
        optimiser.step()
    assert all(bool(change.b.any()) and bool(change.a.grad.any()) for change in factors.blocks)
    after = network.state_dict()
    for name, tensor in before.items():
        found = after.get(name, after.get(name.replace(".weight", ".parametrizations.weight.original")))
        assert torch.equal(found, tensor), name
    factors.merge(frozen)
    with torch.no_grad():
        beside = factors.encode(network, images)
        assert float((beside - original).abs().max()) > 0.01
        torch.testing.assert_close(frozen(images), beside, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(FastCompact(frozen, torch.device("cpu"))(images), beside, rtol=1e-3, atol=1e-4)
    assert factors.adapted_hash("abc") != untrained != factors.adapted_hash("abd")
