"""The pixel classifier finds classes that features separate, learns only from labelled pixels, and is reproducible."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from FewShotSAMLib.bundled.compact import FINE, Pyramid
from FewShotSAMLib.methods import pixel_classifier
from FewShotSAMLib.methods.pixel_classifier import PixelClassifierHead, PixelClassifierSettings
from FewShotSAMLib.methods.tokens import NEVER

CELLS = 8


def new_head(classes: int = 2, with_fine: bool = False) -> PixelClassifierHead:
    return PixelClassifierHead(classes, PixelClassifierSettings(), with_fine)


def exemplars(count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings whose first two channels show where class 1 and class 2 are, among channels of noise."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(count, 256, CELLS, CELLS, generator=generator)
    large = F.interpolate(embeddings[:, :2], scale_factor=4, mode="bilinear", align_corners=False)
    classes = torch.where(large[:, 0] > 0.5, 1, torch.where(large[:, 1] > 0.5, 2, 0))
    target = F.one_hot(classes, 3).movedim(-1, 1).half()
    return embeddings, target, torch.ones(count, 4 * CELLS, 4 * CELLS).half()


def test_it_finds_what_the_features_tell_apart_and_repeats() -> None:
    embeddings, target, weight = exemplars(24)
    head, again = new_head(), new_head()
    loss = head.solve(embeddings[:22], target[:22], weight[:22], seed=3)
    assert again.solve(embeddings[:22], target[:22], weight[:22], seed=3) == loss < 0.4
    assert torch.equal(head.weight, again.weight) and torch.equal(head.bias, again.bias)
    found, wanted = head.logits(embeddings[22:]).argmax(dim=1), target[22:].argmax(dim=1)
    assert float((found == wanted).float().mean()) > 0.8  # of slices that were not used for learning
    assert not head.trainable()


def test_weighting_before_enlarging_is_weighting_after_it() -> None:
    pyramid = Pyramid(*(torch.randn(2, n, 96 // s, 96 // s) for n, s in ((16, 2), (32, 4), (64, 8), (256, 16))))
    head = new_head(with_fine=True)
    torch.nn.init.normal_(head.weight)
    torch.nn.init.normal_(head.bias)
    levels = [pyramid.embedding, F.avg_pool2d(pyramid.half, 2), pyramid.quarter, pyramid.eighth]
    features = torch.cat([F.interpolate(one, (24, 24), mode="bilinear", align_corners=False) for one in levels], dim=1)
    assert features.shape[1] == 256 + sum(FINE)
    expected = torch.einsum("bchw,kc->bkhw", features, head.weight) + head.bias[:, None, None]
    torch.testing.assert_close(head.logits(pyramid.fold()), expected, atol=1e-4, rtol=1e-4)


def test_it_learns_from_the_finer_levels() -> None:
    """The class changes from pixel to pixel, which the coarse cells cannot resolve."""
    generator = torch.Generator().manual_seed(1)
    sizes = ((16, 2), (32, 4), (64, 8), (256, 16))
    pyramid = Pyramid(*(torch.randn(2, n, 96 // s, 96 // s, generator=generator) for n, s in sizes))
    target = F.one_hot((pyramid.quarter[:, 5] > 0).long(), 2).movedim(-1, 1).half()
    head = new_head(1, with_fine=True)
    head.solve(pyramid.fold(), target, torch.ones(2, 24, 24), seed=0)
    assert float((head.logits(pyramid.fold()).argmax(1) == target.argmax(1)).float().mean()) > 0.97
    assert head.read(pyramid.fold()).shape == pyramid.fold().shape


def test_pixels_outside_the_slice_teach_nothing() -> None:
    embeddings, target, weight = exemplars()
    weight[:, 16:] = 0.0
    head, other = new_head(), new_head()
    head.solve(embeddings, target, weight, seed=0)
    target[:, :, 16:] = target[:, [1, 2, 0], 16:]  # nonsense there
    other.solve(embeddings, target, weight, seed=0)
    assert torch.equal(head.weight, other.weight)


def test_many_pixels_are_thinned_out_but_count_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a rare class would be predicted as often as the background."""
    embeddings, target, weight = exemplars()
    head = new_head()
    monkeypatch.setattr(pixel_classifier, "MOST_PIXELS", 450)
    head.solve(embeddings, target, weight, seed=0)
    share = float((head.logits(embeddings).argmax(1) == 0).float().mean())
    assert share == pytest.approx(float((target.argmax(1) == 0).float().mean()), abs=0.15)


def test_a_class_that_is_not_shown_is_never_answered() -> None:
    embeddings, target, weight = exemplars()
    target[:, 0] += target[:, 2]
    target[:, 2] = 0
    head = new_head()
    head.solve(embeddings, target, weight, seed=0)
    logits = head.logits(embeddings)
    assert float(logits[:, 2].max()) == NEVER and set(logits.argmax(1).unique().tolist()) == {0, 1}
    target[:, 0], target[:, 1] = 1, 0
    assert head.solve(embeddings, target, weight, seed=0) == 0.0
    assert not head.logits(embeddings).argmax(1).any()


def test_what_is_smaller_than_a_pixel_is_learned() -> None:
    """A structure that fills a quarter of a few pixels next to one that fills most of the slice."""
    embeddings, target, weight = exemplars(4)
    embeddings[:, 7] = 0.0
    embeddings[:, 7, 4, 4] = 6.0
    target[:, 2] = 0
    target[:, 0] = 1 - target[:, 1]
    target[:, :, 18, 18] = torch.tensor([0.75, 0.0, 0.25]).half()
    head = new_head()
    head.solve(embeddings, target, weight, seed=0)
    small = head.logits(embeddings).softmax(dim=1)[:, 2]
    assert float(small[:, 17:19, 17:19].min()) > 10 * float(small.mean())


def test_pixels_are_shared_out_among_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many segments there are, the number of pixels learned from stays the same."""
    monkeypatch.setattr(pixel_classifier, "MOST_PIXELS", 60)
    target = torch.eye(20)[torch.arange(3 * 64) % 20].view(3, 8, 8, 20).permute(0, 3, 1, 2).numpy()
    inside = np.ones((3, 8, 8), bool)
    inside[0] = False
    places, known, counts = pixel_classifier._chosen(target, inside, 0)
    assert len(places) == 60 and np.bincount(known).tolist() == [3] * 20 and places.min() >= 64
    np.testing.assert_array_equal(target.transpose(1, 0, 2, 3).reshape(20, -1)[known, places], 1)
    assert counts.sum() == pytest.approx(128)
