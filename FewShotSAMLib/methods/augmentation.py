"""Random copies of a painted slice: rotated, scaled and shifted with their labels, and changed in intensity."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from FewShotSAMLib.core.annotation import IGNORE

MAX_ROTATION = math.radians(15)
MAX_LOG_SCALE = math.log(1.25)
MAX_SHIFT = 0.08
"""As a share of the slice's side."""
MAX_LOG_GAMMA = math.log(1.4)
MAX_BRIGHTNESS = 0.08
MAX_LOG_CONTRAST = math.log(1.2)

RECIPE = "affine15-1.25-0.08 gamma1.4 brightness0.08 contrast1.2"
"""Identifies the numbers above in cache keys."""


@dataclass(frozen=True)
class SliceAugmentation:
    """One random copy: the same for the same (slice, copy), so that its embedding can be cached.

    Source: SurgicalSAM keeps the embeddings of augmented copies (40 of each image) to train a decoder on a cached
    encoder; the few-shot paper does not say whether it augments. The ranges are our choice; no mirroring, since
    left and right differ in the body.
    """

    slice_index: int
    copy: int

    def apply(self, grey: torch.Tensor, classes: np.ndarray, aspect: float) -> tuple[torch.Tensor, np.ndarray]:
        """The copy of a cut slice (rows, columns[, 3]) in 0..1 and of its class map.

        aspect is the slice's height divided by its width, in mm. Labels of pixels from outside the slice become IGNORE.
        """
        generator = torch.Generator().manual_seed(self.slice_index * 1009 + self.copy)
        drawn = torch.rand(7, generator=generator) * 2 - 1
        turn, scale, down, across, gamma, brightness, contrast = drawn.tolist()
        rows, columns = classes.shape
        grid = _grid(turn * MAX_ROTATION, math.exp(scale * MAX_LOG_SCALE), down, across, aspect, rows, columns)
        shifted = torch.from_numpy(np.ascontiguousarray(classes)).float()[None, None] - IGNORE
        labels = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False) + IGNORE
        image = sampled(grey, grid).clamp(0, 1) ** math.exp(gamma * MAX_LOG_GAMMA)
        image = (image - 0.5) * math.exp(contrast * MAX_LOG_CONTRAST) + 0.5 + brightness * MAX_BRIGHTNESS
        return image.clamp(0, 1), labels[0, 0].round().to(torch.uint8).numpy()


def sampled(grey: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """A cut slice (rows, columns[, 3]) at the points of a sampling grid."""
    planes = grey.movedim(-1, 0) if grey.ndim == 3 else grey[None]
    moved = F.grid_sample(planes[None].float(), grid, "bilinear", "border", align_corners=False)[0]
    return moved.movedim(0, -1) if grey.ndim == 3 else moved[0]


def random_below(count: int, generator: torch.Generator) -> int:
    """A random whole number from 0 to `count` - 1."""
    return int(torch.randint(count, (), generator=generator))


def _grid(
    angle: float, scale: float, down: float, across: float, aspect: float, rows: int, columns: int
) -> torch.Tensor:
    """Sampling grid (1, rows, columns, 2) of a rotation and scaling in mm, then a shift."""
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    matrix = torch.tensor([[[cos, -sin * aspect, across * MAX_SHIFT * 2], [sin / aspect, cos, down * MAX_SHIFT * 2]]])
    return F.affine_grid(matrix, [1, 1, rows, columns], align_corners=False)
