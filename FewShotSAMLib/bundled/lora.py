"""LoRA in the bundled encoder, which is not a transformer: every 3 x 3 convolution gets a low-rank update (ours)."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from FewShotSAMLib.bundled.compact import CompactEncoder
from FewShotSAMLib.sam.lora import LoraFactors
from FewShotSAMLib.sam.registry import Architecture


class LoraConvolution(nn.Module):
    """The update of one convolution: B·A of the given rank in the shape of its weight (out, in, rows, columns)."""

    def __init__(self, shape: Sequence[int], rank: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.a = nn.Parameter(torch.empty(rank, math.prod(self.shape[1:])))
        self.b = nn.Parameter(torch.zeros(self.shape[0], rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def weight_update(self) -> Tensor:
        """Return what merging adds to the weight."""
        return (self.b @ self.a).view(self.shape)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight."""
        return weight + self.weight_update()


class ConvolutionFactors(LoraFactors):
    """The updates of an encoder of this architecture."""

    def __init__(self, architecture: Architecture, rank: int) -> None:
        with torch.device("meta"):
            outline = CompactEncoder(architecture.image_size)
        super().__init__([LoraConvolution(layer.weight.shape, rank) for layer in _convolutions(outline)])

    def attach(self, image_encoder: CompactEncoder) -> None:
        """Parametrise each weight by its update."""
        image_encoder.requires_grad_(False)
        for layer, change in zip(_convolutions(image_encoder), self.blocks, strict=True):
            register_parametrization(layer, "weight", change)

    def merge(self, image_encoder: CompactEncoder) -> None:
        """Add the updates to the weights."""
        with torch.no_grad():
            for layer, change in zip(_convolutions(image_encoder), self.blocks, strict=True):
                added = cast(LoraConvolution, change).weight_update().to(layer.weight)
                layer.weight = nn.Parameter(layer.weight + added, requires_grad=False)

    def encode(self, image_encoder: CompactEncoder, images: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
        """Return folded pyramids; calls check() once."""
        check()
        return image_encoder.pyramid(images).fold()


def _convolutions(network: CompactEncoder) -> list[nn.Conv2d]:
    """The convolutions to adapt."""
    layers = [layer for layer in network.stages.modules() if isinstance(layer, nn.Conv2d)]
    return [layer for layer in layers if layer.kernel_size == (3, 3)]
