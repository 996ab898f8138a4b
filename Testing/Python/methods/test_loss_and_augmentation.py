"""The loss counts only what is labelled; augmentation moves image and labels together."""

import numpy as np
import pytest
import torch

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.methods.augmentation import SliceAugmentation
from FewShotSAMLib.methods.loss import merged_unknown, segmentation_loss


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much() -> None:
    target = torch.zeros(1, 3, 8, 8)
    target[:, 1, :4], target[:, 0, 4:] = 1, 1
    weight = torch.ones(1, 8, 8)
    assert float(segmentation_loss(target * 40, target, weight)) == pytest.approx(0, abs=1e-3)
    assert float(segmentation_loss(-target * 40, target, weight)) > 10


def test_pixels_without_weight_do_not_count() -> None:
    target = torch.zeros(1, 2, 8, 8)
    target[:, 1, :4], target[:, 0, 4:] = 1, 1
    weight = torch.ones(1, 8, 8)
    weight[:, 6:] = 0
    logits = target * 3
    changed = logits.clone()
    changed[:, :, 6:] = 77 * torch.randn(1, 2, 2, 8)
    assert float(segmentation_loss(logits, target, weight)) == float(segmentation_loss(changed, target, weight))


def test_a_segment_that_may_be_there_is_no_background() -> None:
    """Class 2 is unknown on the second slice: predicting background or class 2 there has the same loss."""
    target = torch.zeros(2, 3, 2, 2)
    target[:, 0] = 1
    weight = torch.ones(2, 2, 2)

    def cost(answer: int, unknown: list[list[int]]) -> float:
        logits = torch.zeros(2, 3, 2, 2)
        logits[0, 0] = logits[1, answer] = 9.0
        return float(segmentation_loss(merged_unknown(logits, unknown), target, weight))

    assert cost(2, [[], []]) > 2 and cost(2, [[], [2]]) == pytest.approx(cost(0, [[], [2]]), abs=1e-4)
    assert cost(1, [[], [2]]) > 2
    logits = torch.randn(2, 3, 2, 2)
    assert merged_unknown(logits, [[], []]) is logits
    merged = merged_unknown(logits, [[], [1, 2]])
    assert torch.equal(merged[0], logits[0])
    torch.testing.assert_close(merged[1, 0], logits[1].logsumexp(0))


def test_an_empty_slice_still_teaches() -> None:
    target = torch.zeros(1, 2, 8, 8)
    target[:, 0] = 1
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    segmentation_loss(logits, target, torch.ones(1, 8, 8)).backward()
    assert float(logits.grad[:, 1].min()) > 0


@pytest.mark.parametrize("colour", [False, True])
def test_image_and_labels_move_together(colour: bool) -> None:
    classes = np.zeros((60, 90), dtype=np.uint8)
    classes[20:40, 30:70] = 1
    grey = torch.from_numpy(classes).float()
    grey = grey[..., None].repeat(1, 1, 3) if colour else grey
    moved_anything = 0
    for copy in range(1, 9):
        image, labels = SliceAugmentation(5, copy).apply(grey, classes, 60 / 90)
        assert image.shape == grey.shape
        bright = (image[..., 0] if colour else image).numpy()
        middle = (bright[labels == 1].mean() + bright[labels == 0].mean()) / 2
        known = labels != IGNORE
        assert np.mean((bright > middle)[known] == (labels == 1)[known]) > 0.98
        moved_anything += int((labels != classes).any())
    assert moved_anything == 8


def test_a_copy_is_always_the_same_and_others_differ() -> None:
    grey, classes = torch.rand(30, 40), np.zeros((30, 40), dtype=np.uint8)
    first = SliceAugmentation(5, 1).apply(grey, classes, 0.75)[0]
    torch.testing.assert_close(first, SliceAugmentation(5, 1).apply(grey, classes, 0.75)[0], rtol=0, atol=0)
    assert not torch.equal(first, SliceAugmentation(5, 2).apply(grey, classes, 0.75)[0])
    assert not torch.equal(first, SliceAugmentation(6, 1).apply(grey, classes, 0.75)[0])


def test_what_comes_from_outside_is_ignored() -> None:
    classes = np.ones((50, 50), dtype=np.uint8)
    labels = [SliceAugmentation(0, copy).apply(torch.ones(50, 50), classes, 1.0)[1] for copy in range(1, 9)]
    assert {int(value) for copy in labels for value in np.unique(copy)} == {1, IGNORE}
