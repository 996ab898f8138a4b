"""Segments a volume by registering to it the volume that a model was learned on."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from FewShotSAMLib.core.atlas import Atlas, Transferred, transfer
from FewShotSAMLib.core.intensity import IntensityWindow, Normalisation
from FewShotSAMLib.core.label_fusion import fused_labels
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.results import preview
from FewShotSAMLib.engine.volume_run import VolumeRun

MOST_BYTES = 1 << 30
"""Memory for registered labels."""


def atlas_of(run: VolumeRun, prediction: Prediction) -> Atlas | None:
    """What a model stores of a fully segmented volume; None if there is nothing to register."""
    return (
        None
        if run.volume.is_rgb
        else Atlas.of(through_window(run, run.window), prediction.classes, run.volume.geometry)
    )


def volumes_that_fit(run: VolumeRun, count: int) -> int:
    """How many volumes' labels 1 to `count` and images may be in memory at once, on the run's grid; at least one."""
    return max(1, MOST_BYTES // ((count + 1) * run.volume.voxels.size))


def registered(
    run: VolumeRun, atlases: Sequence[Atlas], count: int, normalisation: Normalisation, with_images: bool = False
) -> list[Transferred]:
    """Each atlas's segments on the run's volume, seen through the atlas's window, or `normalisation` if it has none of
    its own; an empty list for a volume that cannot be registered."""
    if run.volume.is_rgb or min(run.volume.geometry.shape) < 4:
        return []
    found = []
    with run.timer.stage("register"):
        for number, atlas in enumerate(atlases):
            grey = through_window(run, (atlas.normalisation or normalisation).resolve(run.volume))
            progress = partial(_report, run, number, len(atlases))
            found.append(transfer(atlas, count, grey, run.volume.geometry, progress, with_images))
    return found


def _report(run: VolumeRun, number: int, count: int, done: int, total: int) -> None:
    run.context.progress("register", number * total + done, count * total)


def labels_from(run: VolumeRun, atlases: Sequence[Atlas], count: int) -> tuple[Transferred | None, int]:
    """The joint labels of the atlases that resemble the run's volume, and their number; if none does, those of the most
    similar; None if none can be registered. Only the first atlases are used if there is not room for all."""
    asked = atlases[: volumes_that_fit(run, count)]
    found = registered(run, asked, count, run.normalisation, len(asked) > 1)
    if alike := [each for each in found if each.is_alike]:
        return fused_labels(alike, through_window(run, run.window), run.volume.geometry.spacing_kji), len(alike)
    return max(found, key=lambda each: each.likeness, default=None), 0


def fill_in_registered(run: VolumeRun, found: Transferred, indices: Sequence[int], prediction: Prediction) -> None:
    """Fill in the slices `indices` with the registered segments.

    Their confidence is that of the shares, reduced by half the images' lack of likeness: a label that follows a
    deformation looks certain everywhere, but is at best as right as the images match.
    """
    shares = np.moveaxis(found.shares, run.axis + 1, 1)
    trust = (1 + found.likeness) / 2
    for index in indices:
        own = torch.from_numpy(np.ascontiguousarray(shares[:, index])).float() / 255
        probability = torch.cat([(1 - own.sum(0, keepdim=True)).clamp_min(0), own])
        probability = trust * probability / probability.sum(0) + (1 - trust) / len(probability)
        prediction.fill_in(run.axis, index, probability)
    preview(prediction, run.axis, run.context, indices)


def through_window(run: VolumeRun, window: IntensityWindow) -> np.ndarray:
    """The volume (K, J, I) through a window, uint8."""
    voxels = run.volume.voxels
    grey = np.empty(voxels.shape, np.uint8)
    for number, plane in enumerate(voxels):
        grey[number] = (window.apply(plane) * 255).round()
    return grey
