"""Segments a volume from a few of its painted slices, or with a model learned on another one. In memory, no files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.atlas import Atlas, by_image
from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.core.plane import axis_of_plane, slice_plane
from FewShotSAMLib.core.region import Box, Region, regions
from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.corrections import (
    Correction,
    LastRun,
    correction_of,
    forget,
    keep,
    likeness,
    replaced_on,
    without_slices,
)
from FewShotSAMLib.engine.earlier import Earlier, assume
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.image_training import adapted_run
from FewShotSAMLib.engine.learning import Learned, check_encoder, check_warm_start, learn, ready_for_transfer, restored
from FewShotSAMLib.engine.model_file import MOST_ATLASES, FewShotModel
from FewShotSAMLib.engine.predict import PartlyPainted, Prediction, RuledOut, predict
from FewShotSAMLib.engine.preparation import annotation_of, normalisation_for
from FewShotSAMLib.engine.report import job_report
from FewShotSAMLib.engine.request import ApplyOptions, ComputeOptions, PropagateOptions
from FewShotSAMLib.engine.results import (
    Filled,
    blank_prediction,
    empty_segmentation,
    insert_exemplars,
    lower_confidence_if_unfamiliar,
    mark_certain,
    preview,
    refined,
)
from FewShotSAMLib.engine.transfer import atlas_of, fill_in_registered, labels_from
from FewShotSAMLib.engine.volume_run import VolumeRun, predicted_slices
from FewShotSAMLib.engine.warm import warm_encoder
from FewShotSAMLib.methods.interface import Predictor
from FewShotSAMLib.methods.registry import get_method

ONLY_A_REGION = (
    "This model (method “{method}”) was learned on the region around the painted segments, as the encoder “{encoder}” "
    "requires; on another volume it sees whole slices, so the result is rough. Learn a model with the encoder vit_b, "
    "or with the method few-shot."
)

NOT_ALIKE = (
    "Around the segments, this volume does not resemble the one that the model was learned on (correlation {0:.2f}), "
    "so its labels could not be transferred by registration. The result is unreliable: paint slices of this volume."
)


@dataclass(frozen=True)
class Segmented:
    """The result of a propagation, or of applying a model.

    asked: the slices that were encoded and predicted, without those on which the painted slices rule out every segment
    (the published methods, `code_faithful`, have no such rule and predict them too); work: how much work that was.
    model: returns the learned model, which may have to be computed; None if nothing was learned. corrected: the slices
    that a correction may have changed; None if any may have changed.
    """

    run: VolumeRun
    filled: Filled
    prediction: Prediction
    annotation: Annotation | None
    training: Mapping[str, Any]
    asked: Sequence[int]
    work: Work
    model: Callable[[], FewShotModel] | None = None
    corrected: Sequence[int] | None = None

    @cached_property
    def segmentation(self) -> Segmentation:
        """The whole result; computed on first access, which a correction in a front end never needs."""
        return self.filled.whole()

    def report(self) -> dict[str, Any]:
        """The report of the job, ready for JSON; times and memory are those up to now."""
        report = job_report(self.run, self.filled, self.prediction, self.annotation, self.training, self.asked)
        return {**report, "corrected": None if self.corrected is None else list(self.corrected)}


def propagate_volume(
    volume: Volume,
    painted: Segmentation,
    options: PropagateOptions,
    context: JobContext,
    timer: StageTimer,
    warm_start: FewShotModel | None = None,
    want_confidence: bool = True,
    earlier: Sequence[Earlier] = (),
) -> Segmented:
    """Learn from the painted slices of a volume, and from models of earlier volumes, and segment its other slices.
    Raises FewShotSAMError."""
    with timer.stage("read"):
        annotation = annotation_of(painted, volume, options, context)
        normalisation = normalisation_for(options, volume, annotation, warm_start, context)
    indices = predicted_slices(volume, annotation.axis, options.range, annotation.complete)
    if warm_start is not None:
        plane = slice_plane(volume.geometry, annotation.axis)
        check_warm_start(warm_start, plane, options.method, len(annotation.segmentation.segments))
    with timer.stage("load"):
        context.progress("load", 0, 1)
        get_method(options.method).load_packages()
        encoder = warm_encoder(_compute(options.compute, warm_start), context)
    if warm_start is not None:
        check_encoder(warm_start, encoder)
        restored(warm_start, encoder)
    run = VolumeRun(volume, annotation.axis, normalisation, encoder, options.compute, context, timer)
    asked = [index for index in indices if options.code_faithful or annotation.sought(index)]
    assumed = assume(run, annotation, earlier, options.method)
    correction = None if earlier else correction_of(run, options, annotation)
    if correction is None:
        forget(context)
        prediction, again = blank_prediction(volume.geometry.shape, want_confidence), indices
    else:
        again = sorted({*indices}.intersection(correction.changed))
        prediction = without_slices(correction.last_run.prediction, run.axis, again)
    insert_exemplars(prediction, annotation, asked)
    parts = (again, [index for index in asked if index in again])
    shown = _shown_regions(run, options, assumed.annotation, warm_start, correction)
    seen = (annotation, assumed.annotation)
    run, learned, crop = _learn_and_predict(run, options, seen, parts, warm_start, prediction, correction, shown)
    result = refined(prediction, options.post_processing, volume.geometry, annotation)
    if correction is not None and result is not prediction:
        result = replaced_on(correction.last_run.result, result, run.axis, {*again, *annotation.exemplars})
    model = partial(_model_of, learned, run, result, options, assumed.atlases)
    if not earlier:  # what they add would have to be determined again once another slice is painted
        like = likeness(run, options, annotation)
        kept = LastRun(like, annotation, crop, shown[1], options.normalisation, learned, prediction, result, model)
        keep(run, options, kept)
    filled = Filled(annotation.segmentation, result, annotation.axis, indices, annotation)
    training = {"method": options.method, **learned.training, "warm": warm_start is not None}
    if earlier:
        training |= {"models": assumed.report, "assumed_slices": list(assumed.annotation.assumed)}
    sought = tuple(len(annotation.sought(index)) for index in asked)
    work = Work(sought, run.encoded, len(annotation.segmentation.segments), warm_start is not None)
    corrected = None if correction is None else again
    return Segmented(run, filled, result, annotation, training, asked, work, model, corrected)


def apply_to_volume(
    model: FewShotModel,
    volume: Volume,
    options: ApplyOptions,
    context: JobContext,
    timer: StageTimer,
    want_confidence: bool = True,
) -> Segmented:
    """Segment a volume with a few-shot model learned on another one. Raises FewShotSAMError."""
    axis = axis_of_plane(volume.geometry, model.plane)
    indices = predicted_slices(volume, axis, options.range)
    with timer.stage("load"):
        context.progress("load", 0, 1)
        encoder = warm_encoder(_compute(options.compute, model), context)
    check_encoder(model, encoder)
    restored(model, encoder)
    run = VolumeRun(volume, axis, model.normalisation, encoder, options.compute, context, timer)
    prediction = blank_prediction(volume.geometry.shape, want_confidence)
    found, alike = labels_from(run, model.atlases, len(model.segments))
    if found is not None and alike:
        fill_in_registered(run, found, indices, prediction)
    else:
        if found is not None:
            context.warning(NOT_ALIKE.format(found.likeness))
        run = _run_network(model, run, indices, prediction)
    lower_confidence_if_unfamiliar(model, run, prediction)
    prediction = refined(prediction, options.post_processing, volume.geometry)
    filled = Filled(empty_segmentation(model.segments, volume.geometry), prediction, axis, indices)
    work = Work((len(model.segments),) * len(indices), run.encoded, len(model.segments))
    training: dict[str, Any] = {"method": model.method}
    if found is not None:
        volumes = {"volumes": len(model.atlases), "alike": alike}
        training["registration"] = {"likeness": round(found.likeness, 3), "used": alike > 0, **volumes}
    return Segmented(run, filled, prediction, None, training, indices, work)


def _run_network(model: FewShotModel, run: VolumeRun, indices: Sequence[int], prediction: Prediction) -> VolumeRun:
    """Fill in the prediction with the model's network. Returns the run: a new one if the encoder is adapted."""
    with run.timer.stage("adapt"):
        predictor = restored(_complete(model, run), run.encoder)
        predictor.adapt_to_new_volume()
    if model.region is not None and predictor.needs_region:
        run.context.warning(ONLY_A_REGION.format(method=model.method, encoder=model.encoder))
    if predictor.encoder_updates is not None:
        run = adapted_run(run, predictor.encoder_updates)
    with run.embeddings() as embeddings:
        run.encode(embeddings, indices)
        _predict(run, predictor, embeddings, indices, prediction)
    return run


def _complete(model: FewShotModel, run: VolumeRun) -> FewShotModel:
    """The model with all that other volumes need; what an older file lacks is learned once per process."""
    kept = run.context.state.get("complete model")
    if not model.digest or kept is None or kept.digest != model.digest:
        kept = run.context.state["complete model"] = ready_for_transfer(model, run.encoder, run.context)
    return kept


def _model_of(
    learned: Learned, run: VolumeRun, prediction: Prediction, options: PropagateOptions, earlier: Sequence[Atlas]
) -> FewShotModel:
    """The learned model, with the image around the segments and the images of the earlier volumes that were used,
    unless images are to be left out or only a range of slices was segmented."""
    model = learned.model()
    keeps = get_method(options.method).load().for_encoder(run.encoder.spec.architecture).transfers
    if not keeps or options.leave_out_image or options.range is not None:
        return model
    own = atlas_of(run, prediction)
    return model if own is None else replace(model, atlases=(*by_image((own, *earlier)).values(),)[:MOST_ATLASES])


def _learn_and_predict(
    run: VolumeRun,
    options: PropagateOptions,
    annotations: tuple[Annotation, Annotation],
    indices: tuple[Sequence[int], Sequence[int]],
    warm_start: FewShotModel | None,
    prediction: Prediction,
    correction: Correction | None,
    shown: tuple[Box | None, tuple[Region, ...]],
) -> tuple[VolumeRun, Learned, Box]:
    """Fill in the prediction. Returns the run, which is a new one if the encoder was adapted; what was learned; and the
    region shown.

    annotations: what is painted, and what to learn from; indices: all slices to fill in, and those among them to encode
    and predict; shown: the result of `_shown_regions`.
    """
    painted_here, annotation = annotations
    adapts = get_method(options.method).load().adapts_encoder
    settled_on = partial(_settled, painted_here, options.code_faithful)
    wanted, asked = indices
    settled = sorted({*wanted} - {*asked})
    mark_certain(prediction, run.axis, settled)
    if settled:
        preview(prediction, run.axis, run.context, settled)
    painted = partial(_partly_painted, painted_here)
    fill = partial(_predict, indices=asked, prediction=prediction, ruled_out=settled_on, painted=painted)
    with run.embeddings(annotation, *shown) as embeddings:
        crop = embeddings.framing.crop
        if not adapts:
            run.encode(embeddings, sorted({*annotation.exemplars, *asked}))
        if correction is not None:
            before = correction.last_run.learned.predictor
            learned = learn(run, annotation, embeddings, options, correction=(before, correction.changed))
            fill(run, learned.predictor, embeddings, passes=range(before.passes + before.learned_more))
            return run, learned, crop
        learned = learn(run, annotation, embeddings, options, warm_start)
        if (updates := learned.predictor.encoder_updates) is None:
            fill(run, learned.predictor, embeddings)
            if learned.more():
                fill(run, learned.predictor, embeddings, passes=[learned.predictor.passes])
    if updates is not None:
        run = adapted_run(run, updates)
        with run.embeddings(annotation, *shown) as embeddings:
            run.encode(embeddings, asked)
            fill(run, learned.predictor, embeddings)
    return run, learned, crop


def _shown_regions(
    run: VolumeRun,
    options: PropagateOptions,
    annotation: Annotation,
    warm_start: FewShotModel | None,
    correction: Correction | None,
) -> tuple[Box | None, tuple[Region, ...]]:
    """The region shown in an earlier run, if any, and the regions of segments that have one of their own."""
    if correction is not None:
        return correction.last_run.crop, correction.last_run.parts
    earlier = warm_start.region if warm_start else None
    architecture = run.encoder.spec.architecture
    if not (get_method(options.method).load().for_encoder(architecture).splits and architecture.sees_region):
        return earlier, ()
    return earlier, regions(annotation, run.plane, run.encoder.image_size)


def _settled(annotation: Annotation, is_code_faithful: bool, index: int) -> frozenset[int]:
    """Segments that are not searched for on a slice: those known there and, unless `code_faithful`, those ruled out."""
    sought = annotation.unknown(index) if is_code_faithful else annotation.sought(index)
    return frozenset(range(1, len(annotation.segmentation.segments) + 1)) - sought


def _partly_painted(annotation: Annotation, index: int) -> np.ndarray | None:
    """What is painted on a slice that is to be predicted for other segments; None if nothing is."""
    return annotation.classes(index) if index in annotation.painted else None


def _predict(
    run: VolumeRun,
    predictor: Predictor,
    embeddings: SliceEmbeddings,
    indices: Sequence[int],
    prediction: Prediction,
    ruled_out: RuledOut = lambda index: (),
    painted: PartlyPainted = lambda index: None,
    passes: Sequence[int] | None = None,
) -> None:
    """Call `predict` with a preview of each batch."""
    show = partial(preview, prediction, run.axis, run.context)
    with run.timer.stage("predict"):
        predict(predictor, embeddings, indices, prediction, run.context, show, ruled_out, painted, passes)


def _compute(compute: ComputeOptions, model: FewShotModel | None) -> ComputeOptions:
    """The options with the model's encoder, unless the user chose another."""
    return replace(compute, encoder=model.encoder) if model is not None and compute.encoder == "auto" else compute
