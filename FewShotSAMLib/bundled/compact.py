"""The bundled encoder: a small convolutional network in place of SAM's vision transformer.

Its embedding starts with SAM's 256 channels at a sixteenth of the image's side, which SAM's prompt encoder and mask
decoder read just as they read those of the official encoders. Finer features, which small structures need, are folded
into further channels of the same grid (space to depth), so that one array per slice holds all there is to cache.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from FewShotSAMLib.sam.fast.linear import Linear
from FewShotSAMLib.sam.fast.parallel import one_thread_each

SAM_CHANNELS = 256
PATCH = 16
WIDTHS = (24, 48, 96, 160)
"""Channels at a half, a quarter, an eighth and a sixteenth of the image's side."""
FINE = (16, 32, 64)
"""Channels kept of the first three levels."""
FOLDED_CHANNELS = SAM_CHANNELS + FINE[0] * 64 + FINE[1] * 16 + FINE[2] * 4
GROUP = 8


@dataclass(frozen=True)
class Pyramid:
    """Features of a batch of slices: half (B, 16, S/2, S/2), quarter (B, 32, S/4, S/4), eighth (B, 64, S/8, S/8) and
    SAM's embedding (B, 256, S/16, S/16)."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    embedding: Tensor

    def __getitem__(self, slices: slice | list[int] | Tensor) -> Pyramid:
        """Select some slices of the batch."""
        return Pyramid(self.half[slices], self.quarter[slices], self.eighth[slices], self.embedding[slices])

    def fold(self) -> Tensor:
        """Pack all levels into one array (B, FOLDED_CHANNELS, S/16, S/16)."""
        folded = [
            F.pixel_unshuffle(fine, factor) for fine, factor in ((self.half, 8), (self.quarter, 4), (self.eighth, 2))
        ]
        return torch.cat([self.embedding, *folded], dim=1)

    @staticmethod
    def unfold(folded: Tensor) -> Pyramid:
        """Restore the pyramid that `fold` packed into one array."""
        sizes = [SAM_CHANNELS, FINE[0] * 64, FINE[1] * 16, FINE[2] * 4]
        embedding, half, quarter, eighth = folded.split(sizes, dim=1)
        return Pyramid(F.pixel_shuffle(half, 8), F.pixel_shuffle(quarter, 4), F.pixel_shuffle(eighth, 2), embedding)


class Residual(nn.Module):
    """Two 3×3 convolutions with group norms and a skip connection around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(channels // GROUP, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return F.relu(x + self.second(self.first(x)))


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution followed by group norm and ReLU."""
    padding = (size - stride + 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, bias=False),
        nn.GroupNorm(outputs // GROUP, outputs),
        nn.ReLU(inplace=True),
    )


class CompactEncoder(nn.Module):
    """Maps (B, 3, S, S), normalised as for SAM, to the folded pyramid (B, FOLDED_CHANNELS, S/16, S/16); 16 divides S.

    The three channels are a slice between its two neighbours. It also works on the same slice given three times.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.img_size = image_size
        inputs = (3, *WIDTHS[:3])
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(before, width, 4, 2), *(Residual(width) for _ in range(blocks)))
            for before, width, blocks in zip(inputs, WIDTHS, (1, 2, 2, 2), strict=True)
        )
        self.fine = nn.ModuleList(nn.Conv2d(wide, few, 1) for wide, few in zip(WIDTHS[:3], FINE, strict=True))
        self.neck = nn.Sequential(nn.Conv2d(WIDTHS[3], SAM_CHANNELS, 1, bias=False), nn.GroupNorm(1, SAM_CHANNELS))

    def pyramid(self, images: Tensor) -> Pyramid:
        """Return the features before folding."""
        levels = []
        for stage in self.stages:
            images = stage(images)
            levels.append(images)
        half, quarter, eighth = (layer(level) for layer, level in zip(self.fine, levels, strict=False))
        return Pyramid(half, quarter, eighth, self.neck(levels[-1]))

    def forward(self, images: Tensor) -> Tensor:
        """Return the folded pyramid."""
        return self.pyramid(images).fold()


class FastCompact:
    """A CompactEncoder ready for inference on one device; has the same interface as FastViT."""

    is_float = True
    side_by_side = True

    def __init__(self, network: CompactEncoder, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device = device
        self.dtype = dtype
        self.linears: list[Linear] = []
        self._network = copy.deepcopy(network).eval().to(device, dtype).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """(B, 3, S, S) normalised float32 on the device -> (B, FOLDED_CHANNELS, S/16, S/16) float32."""
        if check is not None:
            check()
        if self.device.type != "cpu":
            return self._forward(images)
        side = images.shape[-1] // PATCH
        found = images.new_empty(len(images), FOLDED_CHANNELS, side, side, dtype=torch.float32)
        with one_thread_each(check) as run:  # one by one, so that a slice's embedding does not depend on its batch
            run(self._forward_into, zip(found.split(1), images.split(1), strict=True))
        return found

    def _forward_into(self, found: Tensor, images: Tensor) -> None:
        found.copy_(self._forward(images))

    def _forward(self, images: Tensor) -> Tensor:
        folded: Tensor = self._network(images.to(self.dtype, memory_format=torch.channels_last))
        return folded.float()
