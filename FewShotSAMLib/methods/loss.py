"""The loss of fine-tuning: cross-entropy plus Dice, with soft labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from FewShotSAMLib.methods.tokens import BACKGROUND, NEVER


def merged_unknown(logits: Tensor, unknown: Sequence[Sequence[int]]) -> Tensor:
    """Logits (B, C + 1, h, w) in which the segments that are unknown on each of the B slices count as background.

    A pixel outside the known segments is background or one of the unknown segments, so the loss uses the sum of their
    probabilities. A slice painted for the liver alone thus teaches what is liver and what is not, and nothing about the
    spleen. Source: the marginal loss of Shi et al., Marginal loss and exclusion loss for partially supervised
    multi-organ segmentation (2021).
    """
    if not any(unknown):
        return logits
    rows = list(logits)
    for number, labels in enumerate(unknown):
        if labels:
            row = rows[number].clone()
            row[BACKGROUND] = rows[number][[BACKGROUND, *labels]].logsumexp(dim=0)
            row[list(labels)] = NEVER
            rows[number] = row
    return torch.stack(rows)


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean cross-entropy plus mean soft Dice loss over the segments present in the batch.

    logits and target are (B, C + 1, h, w), class 0 the background; target holds each class's share of the pixel, weight
    (B, h, w) how much the pixel counts. SAM trains with focal and Dice loss; cross-entropy instead of focal loss is our
    reading, as the softmax over segments, together with Dice, already keeps easy background from dominating.
    """
    log_probability = torch.log_softmax(logits, dim=1)
    cross_entropy = -((target * log_probability).sum(dim=1) * weight).sum() / weight.sum().clamp_min(1.0)
    probability = log_probability.exp()[:, 1:] * weight[:, None]
    wanted = target[:, 1:] * weight[:, None]
    overlap = (probability * wanted).sum(dim=(0, 2, 3))
    total = probability.sum(dim=(0, 2, 3)) + wanted.sum(dim=(0, 2, 3))
    present = wanted.sum(dim=(0, 2, 3)) > 0
    if not bool(present.any()):
        return cross_entropy
    dice = (2 * overlap + 1e-3) / (total + 1e-3)
    return cross_entropy + (1 - dice[present]).mean()


def squared_dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """AutoSAM's published loss: mean cross-entropy, plus the mean over segments of 1 - Dice; arguments as above.

    Dice is computed over the whole batch, with squares in the denominator and 1 added to numerator and denominator.
    Terms of 0 are left out of the mean (the published code gives NaN if all are 0; here that is 0).
    """
    log_probability = torch.log_softmax(logits, dim=1)
    cross_entropy = -((target * log_probability).sum(dim=1) * weight).sum() / weight.sum().clamp_min(1.0)
    probability, wanted = log_probability.exp()[:, 1:], target[:, 1:]
    counts = weight[:, None]
    overlap = (probability * wanted * counts).sum(dim=(0, 2, 3))
    total = ((probability.square() + wanted.square()) * counts).sum(dim=(0, 2, 3))
    terms = 1 - (2 * overlap + 1) / (total + 1)
    return cross_entropy + terms.sum() / (terms > 0).sum().clamp_min(1)
