"""Segments a volume: from a few painted slices of it, or with what was learned on another one. In memory, no files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import Annotation, annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.intensity import Normalisation, parse_normalisation
from FewShotSAMLib.core.plane import axis_of_plane, slice_plane
from FewShotSAMLib.core.plausibility import check_is_paint, odd_paint
from FewShotSAMLib.core.segmentation import Segmentation, place_on
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.core.window_fit import fitted
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.image_training import adapted_run
from FewShotSAMLib.engine.learning import Learned, LearningOptions, check_encoder, check_warm_start, learn
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.predict import Prediction, predict
from FewShotSAMLib.engine.report import job_report
from FewShotSAMLib.engine.request import ApplyOptions, ComputeOptions, PropagateOptions
from FewShotSAMLib.engine.results import (
    Previewer,
    blank_prediction,
    doubt_stranger,
    empty_segmentation,
    fill_in,
    insert_exemplars,
    refine,
    settle,
)
from FewShotSAMLib.engine.task import PlainTeacher, parts_of
from FewShotSAMLib.engine.volume_run import VolumeRun, predicted_slices
from FewShotSAMLib.engine.warm import warm_encoder
from FewShotSAMLib.methods.interface import Predictor
from FewShotSAMLib.methods.registry import get_method

ONLY_A_REGION = (
    "This model of the method “{method}” was learned on the region around what was painted, as the encoder “{encoder}” "
    "asks for; on another volume it is shown whole slices, so that the result is rough. Learn it with the encoder "
    "vit_b, or by the method few-shot."
)


@dataclass(frozen=True)
class Segmented:
    """What came of it. asked: how many slices were encoded and predicted. model: gives what was learned, as it may have
    to be computed; None where nothing was."""

    run: VolumeRun
    segmentation: Segmentation
    prediction: Prediction
    annotation: Annotation | None
    training: Mapping[str, Any]
    asked: int
    model: Callable[[], FewShotModel] | None = field(default=None)

    def report(self) -> dict[str, Any]:
        """All that is worth knowing, ready for JSON; times and memory are those until now."""
        return job_report(self.run, self.segmentation, self.prediction, self.annotation, self.training)


def propagate_volume(
    volume: Volume,
    painted: Segmentation,
    options: PropagateOptions,
    context: JobContext,
    timer: StageTimer,
    warm_start: FewShotModel | None = None,
    want_confidence: bool = True,
) -> Segmented:
    """Learn from the painted slices of a volume and segment its other slices. Raises FewShotSAMError."""
    with timer.stage("read"):
        annotation = _annotation(painted, volume, options, context)
        normalisation = _normalisation(options, volume, annotation, warm_start, context)
    indices = predicted_slices(volume, annotation.axis, options.range, annotation.exemplars)
    if warm_start is not None:
        plane = slice_plane(volume.geometry, annotation.axis)
        check_warm_start(warm_start, plane, options.method, len(annotation.segmentation.segments))
    with timer.stage("load"):
        context.progress("load", 0, 1)
        get_method(options.method).load_packages()
        encoder = warm_encoder(_compute(options.compute, warm_start), context)
    if warm_start is not None:
        check_encoder(warm_start, encoder)
    run = VolumeRun(volume, annotation.axis, normalisation, encoder, options.compute, context, timer)
    prediction = blank_prediction(volume.geometry.shape, want_confidence)
    asked = _asked(options, annotation, indices)
    run, learned = _learn_and_predict(run, options, annotation, (indices, asked), warm_start, prediction)
    insert_exemplars(prediction, annotation)
    refine(prediction, options.post_processing, volume.geometry)
    result = fill_in(annotation.segmentation, prediction, annotation.axis, indices)
    training = {"method": options.method, "steps": learned.steps, "loss": learned.loss, "warm": warm_start is not None}
    return Segmented(run, result, prediction, annotation, training, len(asked), learned.model)


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
    run = VolumeRun(volume, axis, model.normalisation, encoder, options.compute, context, timer)
    method = get_method(model.method).load().for_encoder(encoder.spec.architecture)
    predictor = method.restore(parts_of(encoder, len(model.segments)), model.settings, model.state, encoder.device)
    with timer.stage("fine-tune"):
        predictor.adapt_to_new_volume(PlainTeacher(context), _memory_of(model, context))
    if model.region is not None and predictor.needs_region:
        context.warning(ONLY_A_REGION.format(method=model.method, encoder=model.encoder))
    if predictor.encoder_updates is not None:
        run = adapted_run(run, predictor.encoder_updates)
    prediction = blank_prediction(volume.geometry.shape, want_confidence)
    with run.embeddings() as embeddings:
        with timer.stage("encode"):
            embeddings.ensure(indices)
        _predict(run, predictor, embeddings, indices, prediction)
    doubt_stranger(model, run, prediction)
    refine(prediction, options.post_processing, volume.geometry)
    result = fill_in(empty_segmentation(model.segments, volume.geometry), prediction, axis, indices)
    return Segmented(run, result, prediction, None, {"method": model.method}, len(indices))


def _learn_and_predict(
    run: VolumeRun,
    options: PropagateOptions,
    annotation: Annotation,
    indices: tuple[Sequence[int], Sequence[int]],
    warm_start: FewShotModel | None,
    prediction: Prediction,
) -> tuple[VolumeRun, Learned]:
    """Fill in the prediction. The run comes back: adapting the encoder makes it another one.

    indices: all slices to fill in, and those of them to encode and predict.
    """
    adapts = get_method(options.method).load().adapts_encoder
    ruled_out = _nothing if options.code_faithful else annotation.ruled_out
    wanted, asked = indices
    settled = sorted({*wanted} - {*asked})
    earlier = warm_start.region if warm_start else None
    settle(prediction, run.axis, settled)
    if settled:
        Previewer(prediction, run.axis, run.context)(settled)
    fill = partial(_predict, indices=asked, prediction=prediction, ruled_out=ruled_out)
    with run.embeddings(annotation, earlier) as embeddings:
        if not adapts:
            with run.timer.stage("encode"):
                embeddings.ensure(sorted({*annotation.exemplars, *asked}))
        learned = learn(run, annotation, embeddings, _learning(options, warm_start))
        if (updates := learned.predictor.encoder_updates) is None:
            fill(run, learned.predictor, embeddings)
    if updates is not None:
        run = adapted_run(run, updates)
        with run.embeddings(annotation, earlier) as embeddings:
            with run.timer.stage("encode"):
                embeddings.ensure(asked)
            fill(run, learned.predictor, embeddings)
    return run, learned


def _asked(options: PropagateOptions, annotation: Annotation, indices: Sequence[int]) -> list[int]:
    """The slices that are encoded and predicted: not those on which, by what was painted, there can be no segment. The
    published methods know no such rule, so that with `code_faithful` there is none."""
    every = len(annotation.segmentation.segments)
    return [index for index in indices if options.code_faithful or len(annotation.ruled_out(index)) < every]


def _learning(options: PropagateOptions, warm_start: FewShotModel | None) -> LearningOptions:
    return LearningOptions(
        steps=options.steps,
        augmented_copies=options.augmented_copies,
        seed=options.seed,
        warm_start=warm_start,
        method=options.method,
        code_faithful=options.code_faithful,
        fresh_augmentation=options.fresh_augmentation,
        contact_sheet=options.contact_sheet,
    )


def _memory_of(model: FewShotModel, context: JobContext) -> dict[str, Any]:
    """What was learned for other volumes from the very same model, in this process; empty at first."""
    kept = context.state.get("adapted")
    if kept is None or not model.digest or kept[0] != model.digest:
        kept = context.state["adapted"] = (model.digest, {})
    memory: dict[str, Any] = kept[1]
    return memory


def _nothing(index: int) -> frozenset[int]:
    """Nothing is ruled out on any slice."""
    return frozenset()


def _predict(
    run: VolumeRun,
    predictor: Predictor,
    embeddings: SliceEmbeddings,
    indices: Sequence[int],
    prediction: Prediction,
    ruled_out: Callable[[int], frozenset[int]] = _nothing,
) -> None:
    show = Previewer(prediction, run.axis, run.context)
    with run.timer.stage("predict"):
        predict(predictor, embeddings, indices, prediction, run.context, show, ruled_out)


def _annotation(painted: Segmentation, volume: Volume, options: PropagateOptions, context: JobContext) -> Annotation:
    placed, placing = place_on(painted, volume.geometry)
    check_is_paint(placed, volume)
    annotation, choosing = annotate(placed, options.axis, options.empty_slices, options.painted_slices)
    for warning in (*painted.warnings, *placing, *choosing, *odd_paint(annotation)):
        context.warning(warning)
    _check_segments(annotation, context)
    return annotation


def _check_segments(annotation: Annotation, context: JobContext) -> None:
    """Warn of segments that there is nothing to learn of; raises BadInputError where that is so for all of them."""
    shown = set(np.unique(np.concatenate([annotation.classes(index).ravel() for index in annotation.painted])).tolist())
    silent = [s for label, s in enumerate(annotation.segmentation.segments, start=1) if label not in shown]
    if len(silent) == len(annotation.segmentation.segments):
        raise BadInputError(
            "The painted segments cover each other everywhere.", "Paint a part of each alone, or run them one by one."
        )
    for segment in silent:
        if annotation.segmentation.mask(segment).any():
            context.warning(
                f"The segment “{segment.name}” is covered by others wherever it is painted and stays empty elsewhere. "
                "Paint a part of it alone, or run it by itself."
            )
        else:
            context.warning(f"The segment “{segment.name}” is not painted on any slice and stays empty.")


def _normalisation(
    options: PropagateOptions,
    volume: Volume,
    annotation: Annotation,
    warm_start: FewShotModel | None,
    context: JobContext,
) -> Normalisation:
    """As asked for; else as the model to start from learned it; else chosen by the volume and what is painted."""
    chosen = options.normalisation not in (None, "auto")
    if options.normalisation is None and warm_start is not None:
        normalisation, chosen = replace(warm_start.normalisation, why="as the model learned it"), True
    else:
        normalisation = parse_normalisation(options.normalisation or "auto", volume)
    normalisation, warnings = fitted(normalisation, volume, annotation, chosen)
    for warning in warnings:
        context.warning(warning)
    return normalisation


def _compute(compute: ComputeOptions, model: FewShotModel | None) -> ComputeOptions:
    """A model brings its own encoder unless another is asked for."""
    return replace(compute, encoder=model.encoder) if model is not None and compute.encoder == "auto" else compute
