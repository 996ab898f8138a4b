"""Heads that predict from the embedding alone, and from the encoder's finer levels if it has any."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from FewShotSAMLib.bundled.compact import Pyramid
from FewShotSAMLib.methods.fine_levels import FineLevels, Skips
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Parts

UPSCALED = (64, 32)
"""Channels of SAM's upscaling at twice and at four times the embedding's grid."""
FRESH_PACE = 10.0
"""Learning rate of randomly initialised layers next to a pretrained decoder, as a multiple of the decoder's."""


class PromptlessHead(Head):
    """A head that predicts from the embedding alone, in training as in prediction.

    fine: layers for the encoder's finer levels; None for SAM's embedding alone. fine_pace: their learning rate as a
    multiple of the schedule's.
    """

    fine_pace = FRESH_PACE

    def __init__(self, fine: FineLevels | None = None) -> None:
        super().__init__()
        self.fine = fine
        if fine is not None:
            self.channels = None

    def calibrate(self, exemplars: Callable[[], Tensor]) -> None:
        """Scale the finer levels by the exemplars."""
        if self.fine is not None:
            self.fine.calibrate(Pyramid.unfold(exemplars()))

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """The finer levels' layers have their own rate: they start at random, the decoder does not."""
        if self.fine is None:
            return super().paces()
        fresh = list(self.fine.parameters())
        known = {id(parameter) for parameter in fresh}
        return [([one for one in self.trainable() if id(one) not in known], 1.0), (fresh, self.fine_pace)]

    def split(self, embeddings: Tensor) -> tuple[Tensor, Skips | None]:
        """SAM's embedding, and what the finer levels add during upscaling."""
        if self.fine is None:
            return embeddings, None
        pyramid = Pyramid.unfold(embeddings)
        return pyramid.embedding, self.fine(pyramid)

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """The same as `logits`: nothing is random."""
        return self.logits(embeddings)


def fine_levels(parts: Parts, faithful: bool = False, channels: tuple[int, int] = UPSCALED) -> FineLevels | None:
    """A new head's layers for the encoder's finer levels; None if there are none, or with `code_faithful`."""
    return None if faithful or not parts.architecture.fine_channels else FineLevels(*channels)
