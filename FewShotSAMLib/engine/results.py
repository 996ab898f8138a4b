"""Turns predicted classes into the segmentation that is written; painted slices stay as painted."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from FewShotSAMLib.core.annotation import IGNORE, Annotation
from FewShotSAMLib.core.geometry import Geometry, labelled_rows, sparse_copy
from FewShotSAMLib.core.postprocess import PostProcessing
from FewShotSAMLib.core.postprocess import apply as post_process
from FewShotSAMLib.core.segmentation import Segment, Segmentation
from FewShotSAMLib.core.window_fit import IntensityProfile
from FewShotSAMLib.engine.confidence import CERTAIN
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.predict import CERTAIN_PERCENT, Prediction
from FewShotSAMLib.engine.volume_run import VolumeRun

PREVIEW_PREFIX = "preview-"
"""Prefix of the preview files' names in the job folder."""


def blank_prediction(shape: tuple[int, int, int], want_confidence: bool) -> Prediction:
    """An empty prediction."""
    confidence = np.zeros(shape, dtype=np.uint8) if want_confidence else None
    return Prediction(np.zeros(shape, dtype=np.uint8), confidence, {})


def insert_exemplars(prediction: Prediction, annotation: Annotation, predicted: Collection[int]) -> None:
    """Set painted and empty slices to the user's annotation, with full confidence, except the `predicted` ones, on
    which some segments are unknown.

    Pixels where segments overlap count as background here; the segmentation keeps the overlap.
    """
    given = sorted({*annotation.exemplars} - {*predicted})
    for index in given:
        classes = annotation.classes(index)
        np.moveaxis(prediction.classes, annotation.axis, 0)[index] = np.where(classes == IGNORE, 0, classes)
    mark_certain(prediction, annotation.axis, [index for index in given if index in annotation.complete])


def mark_certain(prediction: Prediction, axis: int, indices: Sequence[int]) -> None:
    """Give full confidence to slices that need no prediction; they are background unless something was inserted."""
    for index in indices:
        if prediction.confidence is not None:
            np.moveaxis(prediction.confidence, axis, 0)[index] = CERTAIN_PERCENT
        prediction.slices[index] = CERTAIN


def refined(
    prediction: Prediction, options: PostProcessing, geometry: Geometry, annotation: Annotation | None = None
) -> Prediction:
    """The prediction post-processed in 3D as the user chose, or itself if the user chose nothing. Painted pixels stay,
    also on slices with unknown segments."""
    if options == PostProcessing():
        return prediction
    prediction = replace(prediction, classes=post_process(prediction.classes, options, geometry.spacing_kji))
    for index in () if annotation is None else annotation.painted:
        if annotation is not None and (unknown := annotation.unknown(index)):
            found, given = np.moveaxis(prediction.classes, annotation.axis, 0)[index], annotation.classes(index)
            found[(given > 0) | ~np.isin(found, list(unknown))] = 0
            np.copyto(found, given, where=(given > 0) & (given != IGNORE))
    return prediction


def lower_confidence_if_unfamiliar(model: FewShotModel, run: VolumeRun, prediction: Prediction) -> None:
    """Halve the confidence, with a warning, if a volume looks unlike the one that the model was learned on."""
    strange = "" if model.look is None else model.look.strangeness(IntensityProfile.of(run.volume, run.window))
    if not strange:
        return
    window = f"{run.window.low:.4g} to {run.window.high:.4g}"
    run.context.warning(
        f"This volume does not look like the one that the model was learned on (window {window}): {strange}. "
        "The result is unreliable; check that this is the right series, or learn a model from similar volumes."
    )
    if prediction.confidence is not None:
        prediction.confidence //= 2
    for index, found in prediction.slices.items():
        prediction.slices[index] = replace(found, confidence=round(found.confidence / 2, 4))


@dataclass(frozen=True)
class Filled:
    """The segmentation `before`, with the predicted slices `indices` filled in. Every other slice stays identical, and
    so do segments that are known on these."""

    before: Segmentation
    prediction: Prediction
    axis: int
    indices: Sequence[int]
    annotation: Annotation | None = None

    def whole(self) -> Segmentation:
        """The segmentation, as a copy."""
        layers, where = sparse_copy(self.before.layers), self._where()
        for number in range(layers.shape[1]):
            self._fill(layers[:, number], number, where)
        return replace(self.before, layers=layers)

    def voxel_counts(self) -> list[int]:
        """How many voxels each segment has; counted plane by plane, as `whole` takes memory and time."""
        layers, where = self.before.layers, self._where()
        counts = np.zeros((len(layers), np.iinfo(layers.dtype).max + 1), np.int64)
        for number, classes in enumerate(self.prediction.classes):
            if classes.any() or layers[:, number].any():
                plane = layers[:, number].copy()
                self._fill(plane, number, where)
                for layer, count in zip(plane, counts, strict=True):
                    count += np.bincount(layer[labelled_rows(layer)].ravel(), minlength=counts.shape[1])
        return [int(counts[segment.layer, segment.label_value]) for segment in self.before.segments]

    def _where(self) -> list[np.ndarray]:
        """For each segment, a mask (K, J, I) of the voxels to predict, as a view broadcast from its slices."""
        shape, found = self.prediction.classes.shape, []
        predicted = np.zeros((len(self.before.segments), shape[self.axis]), bool)
        for index in self.indices:
            unknown = None if self.annotation is None else self.annotation.unknown(index)
            predicted[:, index] = [unknown is None or label in unknown for label in range(1, len(predicted) + 1)]
        for slices in predicted:
            found.append(np.broadcast_to(np.expand_dims(slices, [n for n in range(3) if n != self.axis]), shape))
        return found

    def _fill(self, layers: np.ndarray, number: int, where: Sequence[np.ndarray]) -> None:
        """Fill in plane k = `number` of all layers (L, J, I), in place."""
        classes = self.prediction.classes[number]
        rows = labelled_rows(classes)
        for label, segment in enumerate(self.before.segments, start=1):
            found = (classes[rows] == label) & where[label - 1][number, rows]
            np.copyto(layers[segment.layer, rows], segment.label_value, where=found)


def empty_segmentation(segments: Sequence[Segment], geometry: Geometry) -> Segmentation:
    """An empty segmentation with one layer; segments keep their label values unless two share one."""
    taken: set[int] = set()
    placed = []
    for segment in segments:
        value = segment.label_value
        while value in taken:
            value = max(taken) + 1
        taken.add(value)
        placed.append(replace(segment, label_value=value, layer=0))
    dtype = np.min_scalar_type(max(taken, default=1))
    return Segmentation(np.zeros((1, *geometry.shape), dtype=dtype), geometry, tuple(placed))


def preview(prediction: Prediction, axis: int, context: JobContext, indices: Sequence[int]) -> None:
    """Write the classes (n, rows, columns), uint8 `.npy`, of slices just predicted to the job folder and notify the
    parent; do nothing if there is no such folder."""
    if (folder := context.job_folder) is None:
        return
    # A unique name: the parent may be slow, and each pass shows the same slices again.
    path = folder / f"{PREVIEW_PREFIX}{secrets.token_hex(8)}.npy"
    try:
        np.save(path, np.moveaxis(prediction.classes, axis, 0)[list(indices)], allow_pickle=False)
    except OSError as error:
        context.warning(f"No preview can be shown: {folder} cannot be written ({error.strerror}).")
        return
    context.preview(path=str(path), axis=axis, slices=list(indices))
