"""What the engine asks of every method: a head on the frozen encoder that trains and predicts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from FewShotSAMLib.methods.lora import LoraFactors
from FewShotSAMLib.methods.loss import segmentation_loss
from FewShotSAMLib.methods.tokens import Token


class Head(nn.Module, ABC):
    """Turns embeddings (B, 256, h, w) into logits (B, C + 1, 4h, 4w) of background and C segments.

    Parameters with requires_grad are those that fine-tuning changes.
    """

    @abstractmethod
    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits of exemplars while they are learned from; `slices` says which slice each of the batch shows."""

    @abstractmethod
    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits of new slices."""

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """What training makes small; arguments as in `segmentation_loss`, which it is unless a method has its own."""
        return segmentation_loss(logits, target, weight)

    @property
    def encoder_updates(self) -> LoraFactors | None:
        """LoRA of the encoder that this head trains with and predicts on; None for the encoder as it is."""
        return None

    def set_support(self, tokens: Sequence[Token]) -> None:
        """Take the few-shot tokens of the exemplars; methods that ask with none need nothing of them."""

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that fine-tuning changes."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


class PromptlessHead(Head):
    """A head that answers from the embedding alone, in training as in prediction."""

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """The same as `logits`: nothing is drawn."""
        return self.logits(embeddings)
