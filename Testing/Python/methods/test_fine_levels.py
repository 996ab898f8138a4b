"""On the bundled encoder, the heads also read its finer levels, scaled by the exemplars; as published, they do not."""

import pytest
import torch
from methods.conftest import SamParts, new_head

from FewShotSAMLib.bundled.compact import FOLDED_CHANNELS, Pyramid

AUTOSAM = ("autosam-vit", "autosam-cnn", "autosam-linear")
METHODS = (*AUTOSAM, "synthesis", "lora")


@pytest.mark.parametrize("name", METHODS)
def test_every_level_of_the_pyramid_counts(sam_parts: SamParts, name: str) -> None:
    head = new_head(name, sam_parts, encoder="tiny")
    folded = torch.randn(1, FOLDED_CHANNELS, 8, 8)
    with torch.no_grad():
        before = head.logits(head.read(folded))
        assert before.shape == (1, 3, 32, 32)
        for level in ("half", "quarter", "eighth", "embedding"):
            pyramid = Pyramid.unfold(folded.clone())
            getattr(pyramid, level)[..., :2, :2] += 5.0
            assert not torch.equal(head.logits(head.read(pyramid.fold())), before), level


@pytest.mark.parametrize("name", METHODS)
def test_the_scale_of_the_finer_levels_does_not_matter(sam_parts: SamParts, name: str) -> None:
    pyramid = Pyramid.unfold(torch.randn(3, FOLDED_CHANNELS, 8, 8))
    other = Pyramid(20 * pyramid.half + 3, 0.1 * pyramid.quarter, 7 * pyramid.eighth - 30, pyramid.embedding)
    answers = []
    for shown in (pyramid, other):
        head = new_head(name, sam_parts, encoder="tiny")
        folded = shown.fold()
        head.calibrate(lambda folded=folded: folded)
        with torch.no_grad():
            answers.append(head.logits(head.read(folded)))
        assert any("mean_quarter" in key for key in head.state_dict()), "kept in the model file"
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", AUTOSAM)
def test_as_published_a_head_reads_sams_channels_alone(sam_parts: SamParts, name: str) -> None:
    head = new_head(name, sam_parts, encoder="tiny", code_faithful=True)
    assert head.read(torch.zeros(1, FOLDED_CHANNELS, 8, 8)).shape[1] == 256
    assert not any("fine" in key for key in head.state_dict())


@pytest.mark.parametrize("name", METHODS)
def test_with_sams_encoders_nothing_is_added_or_asked_for(sam_parts: SamParts, name: str) -> None:
    head = new_head(name, sam_parts)

    def never() -> torch.Tensor:
        raise AssertionError("the exemplars are encoded for nothing")

    head.calibrate(never)
    assert not any("fine" in key for key in head.state_dict())
    assert head.logits(torch.randn(1, 256, 8, 8)).shape == (1, 3, 32, 32)
