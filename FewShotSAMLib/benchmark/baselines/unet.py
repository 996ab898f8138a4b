"""Baseline: a 2D U-Net trained from scratch on the painted slices, with augmentation and without pretraining."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from FewShotSAMLib.benchmark.baselines.interface import Painted, class_count_of, with_painted
from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.methods.augmentation import SliceAugmentation
from FewShotSAMLib.methods.loss import segmentation_loss
from FewShotSAMLib.methods.repeatable import repeatable

DIVISIBLE = 16
"""The network halves the image four times."""
MANY = 2**31 - 1
MAX_NOISE = 0.05
"""Largest standard deviation of the noise added."""


@dataclass(frozen=True)
class UNetSettings:
    """MONAI's U-Net: five levels with `channels` in the first, two residual units each, instance norm.

    size: longer side of its input images, in pixels.
    """

    channels: int = 16
    size: int = 256
    steps: int = 400
    batch: int = 4
    learning_rate: float = 2e-3
    seed: int = 0


class UNetFromScratch:
    """A U-Net trained separately for every volume. Its training images are painted slices, augmented as for the other
    methods (rotated, scaled, moved, recoloured), anew at each step, plus noise; it has the same loss as they do.
    spacing: in mm along the rows and columns of a slice.
    """

    def __init__(
        self,
        settings: UNetSettings | None = None,
        device: str = "cpu",
        spacing: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self._settings = settings or UNetSettings()
        self._device = torch.device(device)
        self._pixel_aspect = spacing[0] / spacing[1]

    def __call__(self, grey: np.ndarray, painted: Painted, axis: int) -> np.ndarray:
        """See `Baseline`."""
        slices = np.moveaxis(grey, axis, 0)
        network = self._train(slices, painted)
        classes = np.zeros(grey.shape, np.uint8)
        found = np.moveaxis(classes, axis, 0)
        with torch.inference_mode():
            for index, one in enumerate(slices):
                logits = network(self._input(torch.from_numpy(np.ascontiguousarray(one, dtype=np.float32)))[None])
                enlarged = F.interpolate(logits, size=one.shape, mode="bilinear", align_corners=False)
                found[index] = enlarged[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return with_painted(classes, painted, axis)

    def _train(self, slices: np.ndarray, painted: Painted) -> Any:
        settings = self._settings
        generator = torch.Generator().manual_seed(settings.seed)
        count = class_count_of(painted)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = _network(count + 1, settings.channels).to(self._device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 - step / settings.steps) ** 0.9)
        network.train()
        with repeatable(self._device):
            for _ in range(settings.steps):
                views = [self._view(slices, painted, count, generator) for _ in range(settings.batch)]
                images, targets, weights = (torch.stack(part) for part in zip(*views, strict=True))
                loss = segmentation_loss(network(images), targets, weights)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                decay.step()
        return network.eval()

    def _view(
        self, slices: np.ndarray, painted: Painted, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return image (1, h, w), target (count + 1, h, w) and weight (h, w) of a random painted slice, augmented."""
        indices = sorted(painted)
        index = indices[int(torch.randint(len(indices), (), generator=generator))]
        copy = int(torch.randint(MANY, (), generator=generator))
        grey = torch.from_numpy(np.ascontiguousarray(slices[index], dtype=np.float32))
        aspect = grey.shape[0] / grey.shape[1] * self._pixel_aspect
        moved, classes = SliceAugmentation(index, copy).apply(grey, painted[index], aspect)
        image = self._input(moved)
        noise = torch.randn(image.shape, generator=generator) * MAX_NOISE * torch.rand((), generator=generator)
        known = torch.from_numpy(classes)[None, None].float()
        labels = F.interpolate(known, size=image.shape[1:], mode="nearest")[0, 0]
        target = torch.stack([labels == label for label in range(count + 1)]).float()
        return image + noise.to(self._device), target.to(self._device), (labels != IGNORE).float().to(self._device)

    def _input(self, grey: Tensor) -> Tensor:
        """Return (1, h, w) centred on 0, with sides that the network can halve, of a slice (rows, columns) in 0..1."""
        longer = max(grey.shape)
        scale = min(1.0, self._settings.size / longer)
        size = [max(DIVISIBLE, math.ceil(side * scale / DIVISIBLE) * DIVISIBLE) for side in grey.shape]
        fitted = F.interpolate(grey[None, None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
        return ((fitted - 0.5) * 2).to(self._device)


def _network(outputs: int, channels: int) -> Any:
    try:
        from monai.networks.nets import UNet
    except ImportError as error:
        raise BadInputError(
            "The U-Net needs MONAI, which is not installed.", hint("install-packages", extra="baselines")
        ) from error
    widths = [channels * 2**level for level in range(5)]
    return UNet(2, 1, outputs, widths, strides=(2, 2, 2, 2), num_res_units=2, norm="instance")
