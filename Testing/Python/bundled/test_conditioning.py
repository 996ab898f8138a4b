"""What the bundled decoder is told, and the head that asks it."""

import pytest
import torch
from torch import Tensor

from FewShotSAMLib.bundled.compact import FOLDED_CHANNELS
from FewShotSAMLib.bundled.conditioning import ForeignConditioning, VolumeConditioning
from FewShotSAMLib.bundled.fusion import FusionDecoder, FusionLayers
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.methods.interface import ExemplarFeatures
from FewShotSAMLib.methods.tokens import NEVER
from FewShotSAMLib.sam.registry import build_decoder_parts, get_spec

CELLS = 3
GRID = 8 * CELLS
DEPTH = 13
KNOWN = (2, 5, 8, 11)


@pytest.fixture
def shown() -> ExemplarFeatures:
    """Two segments: a square on the first three exemplars, another on the second alone."""
    torch.manual_seed(0)
    masks = torch.zeros(len(KNOWN), 2, GRID, GRID)
    masks[:3, 0, 4:14, 4:14] = 1
    masks[1, 1, 16:22, 16:22] = 1
    return ExemplarFeatures(torch.randn(len(KNOWN), FOLDED_CHANNELS, CELLS, CELLS), masks)


@pytest.fixture
def head() -> FusionHead:
    torch.manual_seed(1)
    prompts, decoder = build_decoder_parts(get_spec("tiny"))
    layers = FusionLayers()
    torch.nn.init.normal_(layers.mask.weight, std=0.1)
    return FusionHead(FusionDecoder(decoder, prompts, layers), 2).eval()


def guide_of(shown: ExemplarFeatures) -> VolumeConditioning:
    torch.manual_seed(2)
    return VolumeConditioning(torch.rand(DEPTH, GRID, GRID), KNOWN, shown, slice_step=2.0)


def embeddings(count: int) -> Tensor:
    torch.manual_seed(3)
    return torch.randn(count, FOLDED_CHANNELS, CELLS, CELLS)


@pytest.mark.parametrize(
    ("label", "index", "expected"),
    [(1, 0, True), (1, 4, True), (1, 9, True), (1, 12, False), (2, 3, True), (2, 9, False), (2, 0, False)],
)
def test_a_segment_is_not_sought_between_exemplars_without_it(
    shown: ExemplarFeatures, label: int, index: int, expected: bool
) -> None:
    assert guide_of(shown).may_contain(label, index) is expected


def test_logits_of_both_passes(head: FusionHead, shown: ExemplarFeatures) -> None:
    head.condition(guide_of(shown))
    slices = [3, 4, 9]
    with torch.inference_mode():
        first = head.logits(embeddings(3), slices, 0)
        second = head.logits(embeddings(3), slices, 1)
    assert first.shape == second.shape == (3, 3, GRID, GRID)
    assert (first[:, 0] == 0).all() and (first[2, 2] == NEVER).all() and (second[2, 2] <= NEVER).all()
    assert not torch.allclose(first[0, 1], second[0, 1], atol=1e-3)


def test_an_exemplar_is_learned_from_as_if_it_had_not_been_painted(head: FusionHead, shown: ExemplarFeatures) -> None:
    query, seed = embeddings(1), 4
    answers = []
    for changed in (None, 1, 2):
        masks = shown.masks.clone()
        if changed is not None:
            masks[changed, 0] = 0
            masks[changed, 0, 0:4, 0:4] = 1
        head.condition(guide_of(ExemplarFeatures(shown.features, masks)))
        with torch.inference_mode():
            answers.append(head.training_logits(query, [KNOWN[1]], torch.Generator().manual_seed(seed)))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_gradients_reach_the_decoder_alone(head: FusionHead, shown: ExemplarFeatures) -> None:
    head.condition(guide_of(shown))
    query = embeddings(1).requires_grad_(False)
    head.training_logits(query, [KNOWN[1]], torch.Generator().manual_seed(0))[:, 1].sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in head.parameters())


def test_another_volume_is_asked_about_without_places(head: FusionHead, shown: ExemplarFeatures) -> None:
    head.condition(ForeignConditioning(shown))
    with torch.inference_mode():
        one = head.logits(embeddings(2), [0, 1], 0)
        head.condition(ForeignConditioning(shown))
        other = head.logits(embeddings(2), [40, 41], 0)
    assert torch.equal(one, other)
    logits = head.training_logits(embeddings(1), [2], torch.Generator().manual_seed(0))
    assert logits.shape == (1, 3, GRID, GRID)


def test_a_head_without_its_exemplars_says_so(head: FusionHead) -> None:
    with pytest.raises(RuntimeError, match="conditioned"):
        head.logits(embeddings(1), [0])
