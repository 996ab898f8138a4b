"""Places a slice in the encoder's square image, and maps masks to its grids and logits back to the slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.sam.registry import PIXEL_MEAN

PATCH = 16
"""Pixels of the encoder's image per cell of the embedding."""

LOGIT_STRIDE = 4
"""Pixels of the encoder's image per pixel of the output of SAM's mask decoder."""


@dataclass(frozen=True)
class Framing:
    """A crop (first row, end row, first column, end column) of a plane's slices, in a square of size x size pixels.

    As in SAM, the longer side fills the square and the rest at the bottom or right is padding. Unlike in SAM, the sides
    are measured in mm, so that anisotropic slices are not distorted (our choice).
    """

    plane: SlicePlane
    crop: tuple[int, int, int, int]
    size: int

    @property
    def crop_shape(self) -> tuple[int, int]:
        """Rows and columns of the slice that the encoder sees."""
        return self.crop[1] - self.crop[0], self.crop[3] - self.crop[2]

    @property
    def aspect(self) -> float:
        """Height of the crop divided by its width, both in mm."""
        height, width = self._extent
        return height / width

    @property
    def _extent(self) -> tuple[float, float]:
        """Height and width of the crop in mm."""
        (rows, columns), (down, across) = self.crop_shape, self.plane.spacing
        return rows * down, columns * across

    @property
    def content(self) -> tuple[int, int]:
        """Height and width of the crop in encoder pixels, at least one cell each."""
        height, width = (max(PATCH, round(self.size * side / max(self._extent))) for side in self._extent)
        return height, width

    @property
    def key(self) -> str:
        """Identifies this framing in cache keys."""
        height, width = self.content
        turned = f"{self.plane.transpose:d}{self.plane.flip_rows:d}{self.plane.flip_columns:d}"
        return f"axis={self.plane.axis} turned={turned} crop={self.crop} size={self.size} content={height}x{width}"

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The cropped slice in display orientation (view of a stored slice)."""
        first_row, end_row, first_column, end_column = self.crop
        return self.plane.orient(array)[first_row:end_row, first_column:end_column]

    @property
    def pixel_mm(self) -> float:
        """Side of one of the encoder's pixels in mm."""
        return max(self._extent) / self.size

    def image(self, grey: torch.Tensor, padding: Sequence[float] = PIXEL_MEAN) -> torch.Tensor:
        """Encoder input (3, size, size) in 0..255 for a cut slice (rows, columns[, 3]) with values 0..1."""
        planes = grey.movedim(-1, 0) if grey.ndim == 3 else grey.expand(3, *grey.shape)
        pixels = planes[None].float() * 255.0
        fitted = F.interpolate(pixels, self.content, mode="bilinear", antialias=True, align_corners=False)[0]
        # By default, padding is the pixel mean, so that it is zero after SAM's own normalisation, as in SAM.
        framed = torch.tensor(padding).view(3, 1, 1).repeat(1, self.size, self.size)
        framed[:, : fitted.shape[1], : fitted.shape[2]] = fitted
        return framed

    def areas(self, masks: torch.Tensor, stride: int) -> torch.Tensor:
        """Share of each grid cell (size/stride squared) that the masks (n, rows, columns) cover, by exact area."""
        cells = self.size // stride
        height, width = (side / stride for side in self.content)
        down = _overlaps(masks.shape[1], height, cells)
        across = _overlaps(masks.shape[2], width, cells)
        return down @ masks.float() @ across.T

    def target(
        self, classes: np.ndarray, class_count: int, stride: int = LOGIT_STRIDE
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Soft labels on the logit grid from a cut class map: 0 background, 1..class_count; others are ignored.

        Returns the share of each class per pixel (class_count + 1, h, w), summing to 1 where the weight is positive,
        and the weight (h, w): the part of the pixel that is labelled content, 0 in the padding.
        """
        shares = self.areas(_masks(classes, class_count), stride)
        weight = shares.sum(dim=0)
        return shares / weight.clamp_min(1e-6), weight

    def cell_weights(self, classes: np.ndarray, class_count: int) -> torch.Tensor:
        """Area of each class in each cell of the embedding (class_count + 1, size/16, size/16)."""
        return self.areas(_masks(classes, class_count), PATCH)

    def uncut(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (..., size/stride, size/stride) of the framed image resampled to the pixels of the cut slice."""
        stride = self.size / logits.shape[-1]
        height, width = (side / stride for side in self.content)
        rows, columns = self.crop_shape
        if rows >= height and columns >= width:
            down, across = _centres(rows, height, logits.shape[-2]), _centres(columns, width, logits.shape[-1])
            planes = logits.reshape(1, -1, *logits.shape[-2:])
            return _looked_up(planes, down, across).view(*logits.shape[:-2], rows, columns)
        down = _sampling(rows, height, logits.shape[-2])
        across = _sampling(columns, width, logits.shape[-1])
        return down.to(logits) @ logits @ across.T.to(logits)


def _masks(classes: np.ndarray, class_count: int) -> torch.Tensor:
    labels = torch.from_numpy(np.ascontiguousarray(classes)).long()
    return torch.stack([labels == label for label in range(class_count + 1)])


def resampled_logits(
    logits: torch.Tensor, source: Framing, target: Framing, side: int
) -> tuple[slice, slice, torch.Tensor]:
    """Logits (B, C, h, w) of one framing, interpolated linearly on the grid (side, side) of another that contains it:
    the rows and columns of the grid that it covers, and the values there."""
    rows, down = _between(source, target, 0, logits.shape[-2], side)
    columns, across = _between(source, target, 1, logits.shape[-1], side)
    return rows, columns, _looked_up(logits, down, across)


def _between(source: Framing, target: Framing, axis: int, cells: int, side: int) -> tuple[slice, torch.Tensor]:
    """The part of the target's grid that a source of `cells` covers along an axis, and where in the source it lies."""
    (first, end), origin = source.crop[2 * axis : 2 * axis + 2], target.crop[2 * axis]
    per_pixel = target.content[axis] / target.crop_shape[axis] * side / target.size
    place = (torch.arange(side, dtype=torch.float64) + 0.5) / per_pixel + origin  # in pixels of the slice
    inside = ((place >= first) & (place < end)).nonzero().flatten()
    extent = source.content[axis] * cells / source.size
    centre = (place[inside] - first) / (end - first) * extent - 0.5
    start = int(inside[0]) if len(inside) else 0
    return slice(start, start + len(inside)), centre.clamp(0, max(min(extent, cells) - 1, 0))


def _looked_up(planes: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Planes (B, C, h, w) sampled linearly at rows `down` and columns `across`, in cells; far faster than matrices."""
    height, width = planes.shape[-2:]
    y, x = torch.meshgrid((2 * down + 1) / height - 1, (2 * across + 1) / width - 1, indexing="ij")
    grid = torch.stack([x, y], dim=-1).to(planes).expand(len(planes), -1, -1, -1)
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)


@lru_cache
def _overlaps(source: int, extent: float, cells: int) -> torch.Tensor:
    """(cells, source) matrix: the part of each cell that each of `source` pixels covers, spread over `extent` cells."""
    edges = torch.linspace(0, extent, source + 1, dtype=torch.float64)
    start = torch.arange(cells, dtype=torch.float64)[:, None]
    overlap = torch.minimum(edges[None, 1:], start + 1) - torch.maximum(edges[None, :-1], start)
    return overlap.clamp_min(0).float()


def _sampling(target: int, extent: float, cells: int) -> torch.Tensor:
    """(target, cells) matrix of linear interpolation; averages where the target is coarser than the cells."""
    centre = _centres(target, extent, cells)[:, None]
    distance = (torch.arange(cells, dtype=torch.float64)[None] - centre).abs() / max(extent / target, 1.0)
    weights = (1 - distance).clamp_min(0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def _centres(target: int, extent: float, cells: int) -> torch.Tensor:
    """Positions of the centres of `target` pixels, in cells, when spread over `extent` cells."""
    centre = (torch.arange(target, dtype=torch.float64) + 0.5) * extent / target - 0.5
    # Beyond the outermost content cell, padding says nothing about the slice: hold the border value.
    return centre.clamp(0, max(min(extent, cells) - 1, 0))


def whole_slice(plane: SlicePlane, size: int) -> Framing:
    """Framing without a crop."""
    return Framing(plane, (0, plane.shape[0], 0, plane.shape[1]), size)


def averaged(planes: torch.Tensor, size: int) -> torch.Tensor:
    """Planes (..., H, W) averaged down to (..., size, size)."""
    means = F.interpolate(planes.flatten(0, -3).unsqueeze(1), size=(size, size), mode="area")
    return means.view(*planes.shape[:-2], size, size)
