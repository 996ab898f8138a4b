"""What the engine asks of every method: a head on the frozen encoder that trains and predicts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from FewShotSAMLib.bundled.compact import Pyramid
from FewShotSAMLib.methods.fine_levels import FineLevels, Skips
from FewShotSAMLib.methods.loss import segmentation_loss
from FewShotSAMLib.methods.tokens import Token
from FewShotSAMLib.sam.framing import LOGIT_STRIDE
from FewShotSAMLib.sam.lora import LoraFactors
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS


class Head(nn.Module, ABC):
    """Turns embeddings (B, channels, h, w) into logits (B, C + 1, H, W) of background and C segments.

    Parameters with requires_grad are those that fine-tuning changes.
    """

    channels: int | None = EMBEDDING_CHANNELS
    """How many of the embedding's channels the head reads; None for all."""
    logit_stride = LOGIT_STRIDE
    """Pixels of the encoder's image per pixel of the logits."""
    passes = 1
    """How often the head goes over the slices of a volume."""

    @abstractmethod
    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits of exemplars while they are learned from; `slices` says which slice each of the batch shows."""

    @abstractmethod
    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Logits of new slices; `slices` says which slice each of the batch shows, `number` counts passes from 0."""

    def read(self, embeddings: Tensor) -> Tensor:
        """The channels (B, channels, h, w) of embeddings that the head reads."""
        return embeddings if self.channels is None else embeddings[:, : self.channels]

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """What training makes small; arguments as in `segmentation_loss`, which it is unless a method has its own."""
        return segmentation_loss(logits, target, weight)

    @property
    def encoder_updates(self) -> LoraFactors | None:
        """LoRA of the encoder that this head trains with and predicts on; None for the encoder as it is."""
        return None

    def set_support(self, tokens: Sequence[Token]) -> None:
        """Take the few-shot tokens of the exemplars; methods that ask with none need nothing of them."""

    def calibrate(self, exemplars: Callable[[], Tensor]) -> None:
        """Called before training from scratch; exemplars gives their whole embeddings (n, channels, h, w), to scale
        inputs by. Heads that scale nothing do not ask, as the answer may take the encoder minutes."""

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that fine-tuning changes."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """What trains, in groups, each with its learning rate as a multiple of the schedule's."""
        return [(self.trainable(), 1.0)]


FRESH_PACE = 10.0
"""Learning rate of layers that start at random beside a decoder that does not, as a multiple of the decoder's."""


class PromptlessHead(Head):
    """A head that answers from the embedding alone, in training as in prediction.

    fine: what it makes of the bundled encoder's finer levels; None for SAM's embedding alone. fine_pace: the learning
    rate of that as a multiple of the schedule's.
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
        """The finer levels' layers start at random, beside a decoder that does not."""
        if self.fine is None:
            return super().paces()
        fresh = list(self.fine.parameters())
        known = {id(parameter) for parameter in fresh}
        return [([one for one in self.trainable() if id(one) not in known], 1.0), (fresh, self.fine_pace)]

    def split(self, embeddings: Tensor) -> tuple[Tensor, Skips | None]:
        """SAM's embedding, and what the finer levels add on the way up."""
        if self.fine is None:
            return embeddings, None
        pyramid = Pyramid.unfold(embeddings)
        return pyramid.embedding, self.fine(pyramid)

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """The same as `logits`: nothing is drawn."""
        return self.logits(embeddings)
