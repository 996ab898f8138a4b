"""What the bundled decoder is conditioned on, and the head that queries it."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from FewShotSAMLib.bundled import fusion_head, memory
from FewShotSAMLib.bundled.compact import FOLDED_CHANNELS
from FewShotSAMLib.bundled.conditioning import ForeignConditioning, VolumeConditioning
from FewShotSAMLib.bundled.fusion import FusionDecoder, FusionLayers
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.bundled.priors import Flows
from FewShotSAMLib.bundled.segmentwise import SegmentwiseConditioning, conditioning_of, known_on
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


def image() -> Tensor:
    torch.manual_seed(2)
    return torch.rand(DEPTH, GRID, GRID)


def guide_of(shown: ExemplarFeatures, known: tuple[int, ...] = KNOWN) -> VolumeConditioning:
    return VolumeConditioning(Flows(image().__getitem__), DEPTH, known, shown, slice_step=2.0)


def embeddings(count: int) -> Tensor:
    torch.manual_seed(3)
    return torch.randn(count, FOLDED_CHANNELS, CELLS, CELLS)


@pytest.mark.parametrize(
    ("label", "index", "expected"),
    [(1, 0, True), (1, 4, True), (1, 9, True), (1, 12, False), (2, 3, True), (2, 9, False), (2, 0, False)],
)
def test_where_a_segment_is_sought_at_all(shown: ExemplarFeatures, label: int, index: int, expected: bool) -> None:
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


def test_gradients_reach_the_decoder_alone(head: FusionHead, shown: ExemplarFeatures) -> None:
    head.condition(ForeignConditioning(shown))
    query = embeddings(1).requires_grad_(False)
    head.training_logits(query, [1], torch.Generator().manual_seed(0))[:, 1].sum().backward()
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


@pytest.fixture
def partly(shown: ExemplarFeatures) -> ExemplarFeatures:
    """The same, but the first segment is unknown on the third exemplar, where it shows nothing."""
    masks = shown.masks.clone()
    masks[2, 0] = 0
    return ExemplarFeatures(shown.features, masks, known_on([(), (), (1,), ()], 2))


def test_each_segment_is_asked_about_with_its_own_exemplars(shown: ExemplarFeatures, partly: ExemplarFeatures) -> None:
    given = conditioning_of(Flows(image().__getitem__), DEPTH, KNOWN, partly, 2.0, None)
    assert isinstance(given, SegmentwiseConditioning)
    alike = ExemplarFeatures(shown.features[[0, 1, 3]], shown.masks[[0, 1, 3], :1])
    own = VolumeConditioning(Flows(image().__getitem__), DEPTH, (2, 5, 11), alike, 2.0)
    (alone,), first = own.queries(embeddings(1), [9]), given.queries(embeddings(1), [9])[0]
    assert torch.equal(first.priors, alone.priors) and torch.equal(first.place, alone.place)
    assert [len(support.masks) for support in given.support(embeddings(1))] == [3, 4]
    assert given.may_contain(1, 8) and not given.may_contain(1, 5) and not given.may_contain(2, 8)
    assert given.said(8, 1) is None and given.said(8, 2) is not None and given.said(3, 2) is None
    assert isinstance(conditioning_of(Flows(image().__getitem__), DEPTH, KNOWN, shown, 2.0, None), VolumeConditioning)


def test_on_another_volume_each_segment_has_its_own_support(
    head: FusionHead, partly: ExemplarFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ForeignConditioning(partly)
    assert [len(support.masks) for support in given.support(embeddings(1))] == [3, 4]
    head.condition(given)
    logits = head.training_logits(embeddings(1), [2], torch.Generator().manual_seed(0))
    assert (logits[:, 1] == NEVER).all() and (logits[:, 2] != NEVER).all()
    for halved in (nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        monkeypatch.setattr(fusion_head, "computing", lambda device, halved=halved: halved)
        with torch.inference_mode():
            assert (head.logits(embeddings(2), [0, 1])[:, 1:] != NEVER).all()


def test_a_corrected_head_answers_again_only_what_changed(
    head: FusionHead, shown: ExemplarFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_head, "computing", lambda device: nullcontext())  # whatever the processor supports
    slices = [3, 4, 6, 7]
    head.condition(guide_of(shown))
    with torch.inference_mode():
        before = [head.logits(embeddings(4), slices, number) for number in (0, 1)]
        masks = shown.masks.clone()
        masks[1, :, 0:4, 0:4] = 1
        other = guide_of(ExemplarFeatures(shown.features, masks))
        twin = head.corrected(other, {3: frozenset({1}), 4: frozenset({1, 2})})
        after = [twin.logits(embeddings(4), slices, number) for number in (0, 1)]
        head.condition(other)
        fresh = [head.logits(embeddings(4), slices, number) for number in (0, 1)]
    for old, new, whole in zip(before, after, fresh, strict=True):
        kept = old.half().float()
        assert torch.equal(new[2:], kept[2:]) and torch.equal(new[0, 2], kept[0, 2])
        torch.testing.assert_close(new[0, 1], whole[0, 1], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(new[1, 1], whole[1, 1], rtol=1e-4, atol=1e-3)
        assert not torch.allclose(old[0, 1], new[0, 1], atol=1e-3)


def test_a_corrected_head_looks_at_the_new_exemplar_alone(
    head: FusionHead, shown: ExemplarFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reuses the memory's earlier sums, and leaves them for the original head, which may be corrected again."""
    monkeypatch.setattr(fusion_head, "computing", lambda device: torch.autocast("cpu", torch.bfloat16))
    scored, plain = [], torch.addmm
    monkeypatch.setattr(memory.torch, "addmm", lambda *given: [scored.append(1), plain(*given)][1])
    slices = [3, 4]

    def looked_at(head: FusionHead) -> int:
        scored.clear()
        with torch.inference_mode():
            for number in (0, 1):
                head.logits(embeddings(len(slices)), slices, number)
        return len(scored) // len(slices)

    three = ExemplarFeatures(shown.features[:3], shown.masks[:3])
    head.condition(guide_of(three, KNOWN[:3]))
    assert looked_at(head) == 3
    for _ in range(2):
        assert looked_at(head.corrected(guide_of(shown), {index: frozenset({1, 2}) for index in slices})) == 1
    head.condition(guide_of(shown))
    assert looked_at(head) == 4, "another volume or region may have the same masks"


def test_a_sure_answer_is_left_at_the_first_pass(
    head: FusionHead, shown: ExemplarFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_head, "_doubt", lambda earlier: torch.tensor([0.1, 0.9])[: len(earlier)])
    head.condition(guide_of(shown))
    with torch.inference_mode():
        sure, unsure = zip(*(head.logits(embeddings(2), [3, 4], number)[:, 1] for number in (0, 1)), strict=True)
    assert torch.equal(sure[0].half(), sure[1].half()) and not torch.allclose(*unsure, atol=1e-3)


def test_doubt_is_how_much_of_the_area_found_is_unsure() -> None:
    sure, torn, nothing = torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    assert fusion_head._doubt(torch.cat([sure, torn, nothing])).tolist() == [0.0, 2.0, 0.0]
