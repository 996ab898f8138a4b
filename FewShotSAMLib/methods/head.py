"""What the engine asks of every method: a head on the frozen encoder that trains and predicts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


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

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that fine-tuning changes."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
