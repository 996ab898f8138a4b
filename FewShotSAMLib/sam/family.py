"""The interface to a kind of image encoder: how to build it, run it fast and adapt it. Each kind has a module."""

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
    """Whether on the CPU each core encodes its own slice, rather than part of the same one."""

    @property
    def is_float(self) -> bool:
        """Whether all layers compute in floating point."""

    def __call__(self, images: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """(B, 3, S, S) normalised float32 on the device -> (B, channels, S/16, S/16) float32."""


class EncoderFamily(Protocol):
    """The members of a family's module."""

    FEW_SHOT: str
    """`module:name` of the few-shot method made for these encoders; "" if they use SAM's decoder."""

    def image_encoder(self, architecture: Architecture) -> Any:
        """The network with torch's initial weights."""

    def decoder_layers(self) -> nn.Module | None:
        """Layers that the few-shot method of these encoders has in addition to SAM's decoder; None for none."""

    def fast(self, network: Any, device: torch.device, dtype: torch.dtype) -> FastNetwork:
        """The network prepared for inference."""

    def bytes_per_slice(self, architecture: Architecture, item_size: int) -> int:
        """Approximate working memory per slice in a batch."""

    def new_factors(self, architecture: Architecture, rank: int) -> LoraFactors:
        """Initial low-rank updates, which change nothing."""


def family_of(architecture: Architecture) -> EncoderFamily:
    """The family to which an encoder belongs."""
    return cast(EncoderFamily, import_module(FAMILIES[architecture.kind]))
