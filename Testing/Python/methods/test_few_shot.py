"""The few-shot decoder is SAM's own mask decoder, and its support follows the rules of the method."""

import pytest
import torch
from methods.conftest import SamParts

from FewShotSAMLib.methods.decoder import Prompts, TokenDecoder
from FewShotSAMLib.methods.few_shot import FewShotHead
from FewShotSAMLib.methods.tokens import NEVER, FewShotSettings, Token, pool_tokens


def token(label: int, slice_index: int, copy: int = 0, value: float | None = None) -> Token:
    vector = torch.randn(256) if value is None else torch.full((256,), value)
    return Token(vector, label, slice_index, copy)


def test_the_decoder_is_the_official_one(decoder: TokenDecoder, sam_parts: SamParts) -> None:
    mask_decoder, prompt_encoder = sam_parts
    embeddings, tokens = torch.randn(2, 256, 8, 8), torch.randn(2, 3, 256)
    positive = torch.tensor([True, True, False])
    kinds = torch.stack([prompt_encoder.point_embeddings[int(p)].weight[0] for p in positive])
    with torch.no_grad():
        ours = decoder(embeddings, [Prompts(tokens, positive), Prompts(tokens.flip(1), positive.flip(0))])
        for row in range(2):
            masks, _ = mask_decoder.predict_masks(
                image_embeddings=embeddings[row : row + 1],
                image_pe=prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=tokens[row : row + 1] + kinds,
                dense_prompt_embeddings=prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 8, 8),
            )
            for answer in ours[row]:  # the order of the tokens does not matter
                torch.testing.assert_close(answer, masks[0, 0], rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_decoder_and_nothing_else(decoder: TokenDecoder) -> None:
    head = FewShotHead(decoder, 1, FewShotSettings())
    head.support = [token(0, 0), token(1, 0), token(1, 4)]
    head.training_logits(torch.randn(1, 256, 8, 8), [4], torch.Generator().manual_seed(0)).square().mean().backward()
    trained = {name for name, parameter in head.named_parameters() if parameter.grad is not None}
    for name, parameter in head.named_parameters():
        assert parameter.requires_grad == (name in trained), "what cannot learn is frozen, what is not frozen learns"


def test_the_support_never_comes_from_the_query_unless_it_is_alone(decoder: TokenDecoder) -> None:
    head = FewShotHead(decoder, 2, FewShotSettings(background_tokens=1))
    support = [token(1, index, copy, value=100 * index + copy) for index in (3, 8, 20) for copy in (0, 1)]
    head.support = [*support, token(2, 8, value=5.0)]
    generator = torch.Generator().manual_seed(1)
    seen = set()
    for _ in range(60):
        drawn = head._draw(1, [8, 20], generator)
        assert drawn.shape[1] in (1, 2)
        assert not torch.isin(drawn[0], torch.tensor([800.0, 801.0])).any()
        assert not torch.isin(drawn[1], torch.tensor([2000.0, 2001.0])).any()
        seen |= set(drawn[0, :, 0].tolist())
    assert seen == {300.0, 301.0, 2000.0, 2001.0}
    assert head._draw(2, [8], generator)[0, 0, 0] == 5.0


def test_all_clean_exemplars_support_a_prediction(decoder: TokenDecoder) -> None:
    head = FewShotHead(decoder, 1, FewShotSettings(background_tokens=0))
    tokens = [token(1, index) for index in (0, 5, 9)]
    embedding = torch.randn(1, 256, 8, 8)
    with torch.no_grad():
        head.support = [*tokens, token(1, 5, copy=1)]
        question = Prompts(torch.stack([t.vector for t in tokens])[None], torch.ones(3, dtype=torch.bool))
        torch.testing.assert_close(head.logits(embedding)[:, 1:], decoder(embedding, [question]))


def test_one_segment_is_sams_sigmoid_and_several_share_each_pixel(decoder: TokenDecoder) -> None:
    head = FewShotHead(decoder, 2, FewShotSettings())
    head.support = [token(0, 0), token(1, 0), token(2, 3)]
    with torch.no_grad():
        logits = head.logits(torch.randn(1, 256, 8, 8))
    assert logits.shape == (1, 3, 32, 32)
    assert float(logits[:, 0].abs().max()) == 0.0
    torch.testing.assert_close(logits[:, :2].softmax(dim=1)[:, 1], logits[:, 1].sigmoid())


def test_a_segment_that_nothing_shows_is_never_predicted(decoder: TokenDecoder) -> None:
    head = FewShotHead(decoder, 2, FewShotSettings())
    head.support = [token(0, 0), token(1, 0)]
    with torch.no_grad():
        logits = head.logits(torch.randn(1, 256, 8, 8))
    assert float(logits[:, 2].max()) == NEVER


@pytest.mark.parametrize(("background", "other", "count"), [(0, False, 1), (3, False, 4), (0, True, 2), (3, True, 5)])
def test_negative_tokens_are_options(decoder: TokenDecoder, background: int, other: bool, count: int) -> None:
    head = FewShotHead(decoder, 2, FewShotSettings(background_tokens=background, other_segments=other))
    head.support = [*(token(0, 0) for _ in range(background)), token(1, 0), token(2, 0)]
    asked = []
    decoder.register_forward_pre_hook(lambda _, arguments: asked.append(arguments[1:]))
    with torch.no_grad():
        head.logits(torch.randn(1, 256, 8, 8))
    for question in asked[0][0]:
        assert question.tokens.shape == (1, count, 256)
        assert question.positive.tolist() == [True] + [False] * (count - 1)


def test_one_token_is_the_mean_by_area() -> None:
    embedding = torch.zeros(256, 4, 4)
    embedding[:, 1, 1], embedding[:, 1, 2] = 1.0, 3.0
    area = torch.zeros(4, 4)
    area[1, 1], area[1, 2] = 0.75, 0.25
    torch.testing.assert_close(pool_tokens(embedding, area, 1), torch.full((1, 256), 1.5))


def test_a_structure_smaller_than_a_cell_has_a_token() -> None:
    area = torch.zeros(4, 4)
    area[2, 3] = 1e-4
    embedding = torch.randn(256, 4, 4)
    torch.testing.assert_close(pool_tokens(embedding, area, 3), embedding[None, :, 2, 3])
    assert pool_tokens(embedding, torch.zeros(4, 4), 3).shape == (0, 256)


def test_several_tokens_find_the_parts_of_a_region() -> None:
    embedding = torch.randn(256, 6, 6) * 0.01
    embedding[:, :3] += 1.0
    embedding[:, 3:] -= 1.0
    centres = pool_tokens(embedding, torch.ones(6, 6), 2)
    assert sorted(round(float(centre.mean())) for centre in centres) == [-1, 1]
    torch.testing.assert_close(centres, pool_tokens(embedding, torch.ones(6, 6), 2), rtol=0, atol=0)
