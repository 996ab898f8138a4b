"""The bundled encoder and decoder: what is cached, what depends on what, and the weights file shipped with them."""

import hashlib
from dataclasses import replace

import pytest
import torch

from FewShotSAMLib.bundled.compact import FOLDED_CHANNELS, SAM_CHANNELS, CompactEncoder, Pyramid
from FewShotSAMLib.bundled.fusion import KINDS, PLACE, FusionDecoder, Queries, Support
from FewShotSAMLib.core.resources import resource_path
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.encoder import load_encoder
from FewShotSAMLib.sam.registry import get_spec

LARGEST_FILE = 16 * 2**20
SIDE = 64


@pytest.fixture
def decoder() -> FusionDecoder:
    sam, _ = load_sam(get_spec("tiny"))
    return FusionDecoder(sam.mask_decoder, sam.prompt_encoder, sam.fusion).eval()


def pyramid(count: int, seed: int) -> Pyramid:
    torch.manual_seed(seed)
    with torch.no_grad():
        return CompactEncoder(SIDE).eval().pyramid(torch.rand(count, 3, SIDE, SIDE))


def question(count: int = 3) -> tuple[Queries, Support]:
    torch.manual_seed(1)
    features = pyramid(count + 2, 0)
    grid = SIDE // 2
    support = Support(features[slice(0, 2)], torch.rand(2, grid, grid).round(), torch.tensor([0.0, 8.0]))
    queries = Queries(
        features[slice(2, None)],
        torch.randn(count, len(KINDS), grid, grid),
        torch.rand(count, PLACE),
        torch.linspace(1, 7, count),
        torch.zeros(count, dtype=torch.long),
        torch.ones(count, dtype=torch.long),
    )
    return queries, support


def test_folding_loses_nothing() -> None:
    before = pyramid(2, 3)
    folded = before.fold()
    assert folded.shape == (2, FOLDED_CHANNELS, SIDE // 16, SIDE // 16)
    after = Pyramid.unfold(folded)
    for name in ("half", "quarter", "eighth", "embedding"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert torch.equal(folded[:, :SAM_CHANNELS], before.embedding)


def test_the_bundled_file_is_the_registered_one_and_small() -> None:
    spec = get_spec("tiny")
    content = resource_path("Models", spec.filename).read_bytes()
    assert len(content) == spec.size_bytes <= LARGEST_FILE
    assert hashlib.sha256(content).hexdigest() == spec.sha256
    assert resource_path("Models", "tiny.md").is_file()


def test_an_embedding_does_not_depend_on_its_batch() -> None:
    encoder = load_encoder(get_spec("tiny"), device="cpu")
    images = torch.rand(3, 3, encoder.image_size, encoder.image_size) * 255
    together = encoder.encode(images)
    assert together.shape[1:] == encoder.embedding_shape
    assert torch.equal(together[1:2], encoder.encode(images[1:2]))
    assert encoder.slices_encoded == 4


def test_an_answer_does_not_depend_on_its_batch(decoder: FusionDecoder) -> None:
    queries, support = question()
    with torch.inference_mode():
        together = decoder(queries, support)
        alone = decoder(queries.select(torch.tensor([False, True, False])), support)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def test_every_clue_counts(decoder: FusionDecoder) -> None:
    queries, support = question()
    with torch.inference_mode():
        before = decoder(queries, support)
        for changed in (
            (queries.again(torch.rand(3, 3, SIDE // 2, SIDE // 2)), support),
            (replace(queries, above=torch.full((3,), -1)), support.without(1)),
            (queries, Support(support.features, 1 - support.masks, support.position)),
            (queries, Support(support.features, support.masks, support.position.flip(0))),
        ):
            assert not torch.allclose(before, decoder(*changed), atol=1e-5)


def test_exemplars_of_another_volume_have_no_place(decoder: FusionDecoder) -> None:
    queries, support = question()
    foreign = replace(queries, foreign=True)
    with torch.inference_mode():
        before = decoder(foreign, support)
        moved = decoder(foreign, Support(support.features, support.masks, support.position + 3))
    assert torch.equal(before, moved)


def test_only_what_takes_part_learns(decoder: FusionDecoder) -> None:
    queries, support = question()
    decoder(queries, support).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
