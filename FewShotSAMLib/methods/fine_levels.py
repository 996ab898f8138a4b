"""The bundled encoder's finer levels, for heads that otherwise read SAM's embedding alone.

The finer levels hold the detail that SAM's encoder has in its 64 x 64 cells: the bundled encoder's 12 x 12 cells alone
say little more than where a structure lies. They join the decoder as in SAM 2 (Ravi et al., 2024: two finer levels are
added while the mask decoder upscales the cells). Using them in these heads is ours, and so are the 3 x 3 convolutions:
those of SAM 2 are 1 x 1, but its finer levels come from far more layers than ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from FewShotSAMLib.bundled.compact import FINE, Pyramid, convolution

LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Skips:
    """What is added at twice (B, c, 2h, 2w) and at four times (B, d, 4h, 4w) the embedding's grid."""

    eighth: Tensor
    quarter: Tensor

    def for_each(self, classes: int) -> "Skips":
        """The same, with every slice repeated for each class."""
        return Skips(self.eighth.repeat_interleave(classes, dim=0), self.quarter.repeat_interleave(classes, dim=0))


class FineLevels(nn.Module):
    """Two 3 x 3 convolutions of each finer level, first normalised to mean 0 and deviation 1 over the exemplars.

    The half level is averaged down and joins the quarter level.
    """

    mean_eighth: Tensor
    mean_quarter: Tensor
    deviation_eighth: Tensor
    deviation_quarter: Tensor

    def __init__(self, eighth: int, quarter: int) -> None:
        super().__init__()
        for name, channels in (("eighth", FINE[2]), ("quarter", FINE[1] + FINE[0])):
            self.register_buffer(f"mean_{name}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"deviation_{name}", torch.ones(1, channels, 1, 1))
        self.at_eighth = _two_convolutions(FINE[2], eighth)
        self.at_quarter = _two_convolutions(FINE[1] + FINE[0], quarter)

    def calibrate(self, pyramid: Pyramid) -> None:
        """Take mean and deviation from these slices."""
        eighth, quarter = _levels(pyramid)
        self.mean_eighth, self.deviation_eighth = _moments(eighth)
        self.mean_quarter, self.deviation_quarter = _moments(quarter)

    def forward(self, pyramid: Pyramid) -> Skips:
        """What to add during upscaling."""
        eighth, quarter = _levels(pyramid)
        return Skips(
            self.at_eighth((eighth - self.mean_eighth) / self.deviation_eighth),
            self.at_quarter((quarter - self.mean_quarter) / self.deviation_quarter),
        )


def upscale(layers: nn.Sequential, cells: Tensor, skips: Skips | None) -> Tensor:
    """SAM's upscaling (B, 256, h, w) to (B, 32, 4h, 4w) with the finer levels added before the activations."""
    if skips is None:
        return layers(cells)
    first, norm, activation, second, last = layers
    return last(second(activation(norm(first(cells) + skips.eighth))) + skips.quarter)


def _two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs), nn.Conv2d(outputs, outputs, 3, padding=1))


def _levels(pyramid: Pyramid) -> tuple[Tensor, Tensor]:
    return pyramid.eighth, torch.cat([pyramid.quarter, F.avg_pool2d(pyramid.half, 2)], dim=1)


def _moments(level: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(level, dim=(0, 2, 3), keepdim=True, correction=0)
    return mean, deviation.clamp_min(LEAST_DEVIATION)
