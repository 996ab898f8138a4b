"""What one kind of image encoder brings along: how it is built, run fast and adapted. A module for each kind."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from FewShotSAMLib.sam.registry import FAMILIES, Architecture

if TYPE_CHECKING:
    from FewShotSAMLib.sam.fast.linear import Linear
    from FewShotSAMLib.sam.lora import LoraFactors


class FastNetwork(Protocol):
    """An image encoder ready for inference on one device."""

    device: torch.device
    dtype: torch.dtype
    linears: list[Linear]
    side_by_side: bool
    """Whether on the CPU each core has a slice of its own, rather than a piece of the same one."""

    @property
    def is_float(self) -> bool:
        """Whether no layer computes in integers."""

    def __call__(self, images: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """(B, 3, S, S) normalised float32 on the device -> (B, channels, S/16, S/16) float32."""


class EncoderFamily(Protocol):
    """The members of such a module."""

    FEW_SHOT: str
    """`module:name` of the few-shot method made for these encoders; "" where SAM's decoder serves."""

    def image_encoder(self, architecture: Architecture) -> Any:
        """The network with weights as torch initialises them."""

    def decoder_layers(self) -> nn.Module | None:
        """Layers beyond SAM's decoder that the few-shot method of these encoders has; None for none."""

    def fast(self, network: Any, device: torch.device, dtype: torch.dtype) -> FastNetwork:
        """The network for inference."""

    def bytes_per_slice(self, architecture: Architecture, item_size: int) -> int:
        """About the working memory of one slice in a batch."""

    def new_factors(self, architecture: Architecture, rank: int) -> LoraFactors:
        """Low-rank updates that change nothing yet."""


def family_of(architecture: Architecture) -> EncoderFamily:
    """The family that an encoder belongs to."""
    return cast(EncoderFamily, import_module(FAMILIES[architecture.kind]))
