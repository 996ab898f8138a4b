"""Segments a volume by registering it to the one that a model was learned on."""

from collections.abc import Sequence

import numpy as np
import torch

from FewShotSAMLib.core.atlas import Atlas, Transferred, transfer
from FewShotSAMLib.core.intensity import IntensityWindow, Normalisation
from FewShotSAMLib.engine.confidence import percent, slice_confidence
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.results import Previewer
from FewShotSAMLib.engine.volume_run import VolumeRun


def atlas_of(run: VolumeRun, prediction: Prediction) -> Atlas | None:
    """What a model keeps of a volume that is segmented all through; None where there is nothing to register."""
    return None if run.volume.is_rgb else Atlas.of(_grey(run, run.window), prediction.classes, run.volume.geometry)


def registered(
    run: VolumeRun, atlas: Atlas, count: int, normalisation: Normalisation | None = None
) -> Transferred | None:
    """An atlas's segments on the run's volume, seen through the atlas's window where that is another one than the
    run's; None for a volume that cannot be registered."""
    window = run.window if normalisation is None else normalisation.resolve(run.volume)
    if run.volume.is_rgb or min(run.volume.geometry.shape) < 4:
        return None
    with run.timer.stage("register"):
        return transfer(
            atlas,
            count,
            _grey(run, window),
            run.volume.geometry,
            lambda done, total: run.context.progress("register", done, total),
        )


def fill_in_registered(run: VolumeRun, found: Transferred, indices: Sequence[int], prediction: Prediction) -> None:
    """Take the registered segments for the slices `indices`.

    Their confidence is that of the shares times the likeness of both images, half of it: a label that follows a
    deformation looks sure of itself everywhere, and is at most as right as the images fit.
    """
    shares = np.moveaxis(found.shares, run.axis + 1, 1)
    classes = np.moveaxis(prediction.classes, run.axis, 0)
    confidence = None if prediction.confidence is None else np.moveaxis(prediction.confidence, run.axis, 0)
    trust = (1 + found.likeness) / 2
    for index in indices:
        own = torch.from_numpy(np.ascontiguousarray(shares[:, index])).float() / 255
        probability = torch.cat([(1 - own.sum(0, keepdim=True)).clamp_min(0), own])
        probability = trust * probability / probability.sum(0) + (1 - trust) / len(probability)
        best, label = probability.max(dim=0)
        prediction.slices[index] = slice_confidence(probability, best, label)
        classes[index] = label.to(torch.uint8).numpy()
        if confidence is not None:
            confidence[index] = percent(best).numpy()
    Previewer(prediction, run.axis, run.context)(indices)


def _grey(run: VolumeRun, window: IntensityWindow) -> np.ndarray:
    """The volume (K, J, I) through a window, uint8."""
    voxels = run.volume.voxels
    grey = np.empty(voxels.shape, np.uint8)
    for number, plane in enumerate(voxels):
        grey[number] = (window.apply(plane) * 255).round()
    return grey
