"""Exemplar-guided synthesis: painted regions moved, scaled, rotated, mirrored, recoloured and pasted into other slices.

Source: Feng, Zhu, Yu, Cheap Lunch for Medical Image Segmentation by Fine-tuning SAM on Few Exemplars (arXiv
2308.14133), whose module follows En and Guo, Exemplar Learning for Medical Image Segmentation (arXiv 2204.01713).
Neither the papers' text on it nor code was available: the procedure and all ranges are our reading of their published
figures. Regions are pasted with hard borders; together, keeping their layout, or one alone; their intensities change
independently of the host's; the composite's contrast and sharpness change as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.methods.augmentation import random_below, sampled

MAX_ROTATION = math.radians(40)
SCALES = (0.5, 1.6)
MIRRORED_SHARE = 0.5
TOGETHER_SHARE = 0.5
"""Probability that all segments of the exemplar are pasted together rather than one of them alone."""
OWN_ROTATION, OWN_LOG_SCALE, OWN_SHIFT = math.radians(8), math.log(1.12), 0.02
"""How much each segment also moves on its own when all are pasted together; the shift as a share of the side."""
REGION_LOG_GAIN, REGION_BIAS = math.log(1.4), 0.15
IMAGE_LOG_GAMMA, IMAGE_LOG_CONTRAST, IMAGE_BRIGHTNESS = math.log(1.6), math.log(1.3), 0.1
BLURRED_SHARE = 0.25
BODY_LEVEL = 0.1
"""Normalised grey above which a pixel of the host is body; regions are pasted there."""
RIM = 0.03
"""Width, as a share of the longer side, of the rim around a pasted region that counts as background on a host without
known labels, except where the host itself is likely to show the segments."""

RECIPE = "synthesis2 turn40 scale0.5-1.6"
"""Identifies the above in cache keys; must change whenever a pair would come out differently."""

Point = tuple[float, float]
"""(x, y) in -1..1 of a slice."""


@dataclass(frozen=True)
class LabelledSlice:
    """A cut slice: grey (rows, columns[, 3]) in 0..1 and its classes (rows, columns) uint8, IGNORE where not known.

    On an unpainted slice that may contain the segments, everything is IGNORE; `likely` (rows, columns) bool marks where
    they are likely.
    """

    grey: Tensor
    classes: np.ndarray
    likely: np.ndarray | None = None


class Synthesis:
    """Draws pairs; the same generator state gives the same pair. aspect: a slice's height by its width, in mm."""

    def __init__(self, aspect: float, generator: torch.Generator) -> None:
        self._aspect = aspect
        self._generator = generator

    def pair(self, exemplar: LabelledSlice, host: LabelledSlice) -> LabelledSlice:
        """Segments of the exemplar (it has to show one) pasted into the host, which has the same shape."""
        grey, classes = host.grey.clone(), host.classes.copy()
        pasted = np.zeros(classes.shape, dtype=bool)
        for label, moved, mask in self._regions(exemplar, host):
            grey[mask] = self._recoloured(moved[mask])
            classes[mask.numpy()] = label
            pasted |= mask.numpy()
        if bool((host.classes == IGNORE).all()):
            rim = dilated(pasted) & ~pasted
            classes[rim if host.likely is None else rim & ~host.likely] = 0
        return LabelledSlice(self._developed(grey), classes)

    def _regions(self, exemplar: LabelledSlice, host: LabelledSlice) -> list[tuple[int, Tensor, Tensor]]:
        """(label, moved image, moved mask) of the segments to paste, in the order of pasting."""
        labels = [int(label) for label in np.unique(exemplar.classes) if label not in (0, IGNORE)]
        if self._uniform(0, 1) >= TOGETHER_SHARE:
            labels = [labels[random_below(len(labels), self._generator)]]
        order = torch.randperm(len(labels), generator=self._generator).tolist()
        shown = np.isin(exemplar.classes, labels)
        row, column = (float(value) for value in ndimage.center_of_mass(shown))
        centre, target = _point(row, column, shown.shape), self._place(host)
        turn, scale = self._uniform(-MAX_ROTATION, MAX_ROTATION), math.exp(self._uniform(*map(math.log, SCALES)))
        mirror = -1.0 if self._uniform(0, 1) < MIRRORED_SHARE else 1.0
        regions = []
        for number in order:
            own_turn = self._uniform(-OWN_ROTATION, OWN_ROTATION)
            own_scale = math.exp(self._uniform(-OWN_LOG_SCALE, OWN_LOG_SCALE))
            shift = [self._uniform(-OWN_SHIFT, OWN_SHIFT) * 2 for _ in range(2)]
            place = (target[0] + shift[0], target[1] + shift[1])
            grid = self._grid(turn + own_turn, scale * own_scale, mirror, centre, place, shown.shape)
            mask = torch.from_numpy(exemplar.classes == labels[number]).float()
            moved_mask = F.grid_sample(mask[None, None], grid, "nearest", "zeros", align_corners=False)[0, 0] > 0.5
            regions.append((labels[number], sampled(exemplar.grey, grid), moved_mask))
        return regions

    def _place(self, host: LabelledSlice) -> Point:
        """A random point within the body on the host."""
        brightest = host.grey.amax(dim=-1) if host.grey.ndim == 3 else host.grey
        body = torch.nonzero(brightest > BODY_LEVEL)
        rows, columns = brightest.shape
        row, column = body[random_below(len(body), self._generator)].tolist() if len(body) else (rows / 2, columns / 2)
        return _point(row, column, brightest.shape)

    def _grid(
        self, turn: float, scale: float, mirror: float, centre: Point, target: Point, shape: tuple[int, ...]
    ) -> Tensor:
        """Sampling grid (1, rows, columns, 2) that brings the exemplar's `centre` to `target`."""
        cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
        across, down = (mirror * cos, -mirror * sin * self._aspect), (sin / self._aspect, cos)
        offset = [at - row[0] * target[0] - row[1] * target[1] for at, row in zip(centre, (across, down), strict=True)]
        matrix = torch.tensor([[[*across, offset[0]], [*down, offset[1]]]])
        return F.affine_grid(matrix, [1, 1, *shape], align_corners=False)

    def _recoloured(self, values: Tensor) -> Tensor:
        """A region's grey values with random contrast about their mean, and a random shift of the mean."""
        mean = values.mean() if values.numel() else 0.0
        gain = math.exp(self._uniform(-REGION_LOG_GAIN, REGION_LOG_GAIN))
        return ((values - mean) * gain + mean + self._uniform(-REGION_BIAS, REGION_BIAS)).clamp(0, 1)

    def _developed(self, grey: Tensor) -> Tensor:
        """The composite with random gamma, contrast and brightness, and sometimes blurred."""
        if self._uniform(0, 1) < BLURRED_SHARE:
            sigma = self._uniform(0.5, 1.5)
            deviations = (sigma, sigma, 0)[: grey.ndim]
            grey = torch.from_numpy(ndimage.gaussian_filter(grey.numpy(), deviations))
        image = grey.clamp(0, 1) ** math.exp(self._uniform(-IMAGE_LOG_GAMMA, IMAGE_LOG_GAMMA))
        contrast = math.exp(self._uniform(-IMAGE_LOG_CONTRAST, IMAGE_LOG_CONTRAST))
        brightness = self._uniform(-IMAGE_BRIGHTNESS, IMAGE_BRIGHTNESS)
        return ((image - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._generator))


def dilated(mask: np.ndarray) -> np.ndarray:
    """A mask (rows, columns) grown by the width of the rim."""
    return np.asarray(ndimage.binary_dilation(mask, iterations=max(1, round(RIM * max(mask.shape)))))


def _point(row: float, column: float, shape: Sequence[int]) -> Point:
    return (2 * (column + 0.5) / shape[1] - 1, 2 * (row + 0.5) / shape[0] - 1)
