"""The jobs of the background process: propagate painted slices through a volume, apply a few-shot model to another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import Annotation, annotate
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.intensity import Normalisation, parse_normalisation
from FewShotSAMLib.core.plane import axis_of_plane, slice_plane
from FewShotSAMLib.core.plausibility import check_is_paint, check_two_files, odd_paint
from FewShotSAMLib.core.segmentation import place_on, read_segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.core.window_fit import Look, fitted
from FewShotSAMLib.engine import machine
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.describe import describe
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.guidance import lead, with_exemplars
from FewShotSAMLib.engine.image_training import adapted_run
from FewShotSAMLib.engine.learning import Learned, LearningOptions, check_encoder, check_warm_start, learn, new_head
from FewShotSAMLib.engine.model_file import FewShotModel, load_model
from FewShotSAMLib.engine.outputs import check_fit, check_outputs, write_outputs
from FewShotSAMLib.engine.predict import Prediction, predict
from FewShotSAMLib.engine.report import job_report
from FewShotSAMLib.engine.request import ApplyRequest, ComputeOptions, PropagateRequest
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
from FewShotSAMLib.engine.run import Run, predicted_slices
from FewShotSAMLib.engine.timing import StageTimer
from FewShotSAMLib.engine.warm import file_identity, warm_encoder, warm_volume
from FewShotSAMLib.methods.fusion_head import FusionHead
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.registry import get_method

ONLY_A_REGION = (
    "This model of the method “{method}” was learned on the region around what was painted, as the encoder “{encoder}” "
    "asks for; on another volume it is shown whole slices, so that the result is rough. Learn it with --encoder vit_b, "
    "or by the method few-shot."
)


def propagate(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Learn from the painted slices of a volume and segment its other slices; returns the report.

    Raises FewShotSAMError, and then nothing has been written.
    """
    request = PropagateRequest.from_parameters(parameters)
    timer = StageTimer()
    check_outputs(request)
    warm_start = load_model(request.warm_start) if request.warm_start else None
    with timer.stage("read"):
        context.progress("read", 0, 1)
        volume = warm_volume(request.volume, context)
        check_fit(request, volume)
        annotation = _read_annotation(request, volume, context)
        normalisation = _normalisation(request, volume, annotation, warm_start, context)
    indices = predicted_slices(volume, annotation.axis, request.range, annotation.exemplars)
    if warm_start is not None:
        plane = slice_plane(volume.geometry, annotation.axis)
        check_warm_start(warm_start, plane, request.method, len(annotation.segmentation.segments))
    with timer.stage("load"):
        context.progress("load", 0, 1)
        get_method(request.method).load_packages()
        encoder = warm_encoder(_compute(request.compute, warm_start), context)
    if warm_start is not None:
        check_encoder(warm_start, encoder)
    run = Run(volume, annotation.axis, normalisation, encoder, request.compute, context, timer)
    run, learned, prediction = _learn_and_predict(run, request, annotation, indices, warm_start)
    insert_exemplars(prediction, annotation)
    refine(prediction, request.post_processing, volume.geometry)
    result = fill_in(annotation.segmentation, prediction, annotation.axis, indices)
    with timer.stage("write"):
        write_outputs(result, prediction, learned, request, context, volume.source)
    training = {"method": request.method, "steps": learned.steps, "loss": learned.loss, "warm": warm_start is not None}
    return job_report(run, request.output, result, prediction, annotation, training)


def apply(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Segment a volume with a few-shot model learned on another one; returns the report.

    Raises FewShotSAMError, and then nothing has been written.
    """
    request = ApplyRequest.from_parameters(parameters)
    timer = StageTimer()
    check_outputs(request)
    model = load_model(request.model)
    with timer.stage("read"):
        context.progress("read", 0, 1)
        volume = warm_volume(request.volume, context)
        check_fit(request, volume)
    axis = axis_of_plane(volume.geometry, model.plane)
    indices = predicted_slices(volume, axis, request.range)
    with timer.stage("load"):
        context.progress("load", 0, 1)
        encoder = warm_encoder(_compute(request.compute, model), context)
    check_encoder(model, encoder)
    run = Run(volume, axis, model.normalisation, encoder, request.compute, context, timer)
    head = new_head(get_method(model.method), encoder, len(model.segments), model.settings)
    model.load_into(head)
    with timer.stage("fine-tune"):
        lead(head, model, file_identity(request.model), context)
    if model.region is not None and not isinstance(head, FusionHead):
        context.warning(ONLY_A_REGION.format(method=model.method, encoder=model.encoder))
    if head.encoder_updates is not None:
        run = adapted_run(run, head.encoder_updates)
    prediction = blank_prediction(volume.geometry.shape, request.confidence is not None)
    with run.embeddings() as embeddings:
        with timer.stage("encode"):
            embeddings.ensure(indices)
        _predict(run, head, embeddings, indices, prediction)
    doubt_stranger(model, run, prediction)
    refine(prediction, request.post_processing, volume.geometry)
    result = fill_in(empty_segmentation(model.segments, volume.geometry), prediction, axis, indices)
    with timer.stage("write"):
        write_outputs(result, prediction, None, request, context, volume.source)
    return job_report(run, request.output, result, prediction, None, {"method": model.method})


JOBS: dict[str, Callable[[Mapping[str, Any], JobContext], dict[str, Any]]] = {
    "propagate": propagate,
    "apply": apply,
    "inspect": machine.inspect,
    "describe": describe,
    "download": machine.download,
    "clear_cache": machine.clear_cache,
}
"""What the background process can be asked to do."""


def _learn_and_predict(
    run: Run,
    request: PropagateRequest,
    annotation: Annotation,
    indices: Sequence[int],
    warm_start: FewShotModel | None,
) -> tuple[Run, Learned, Prediction]:
    """The run comes back as well: adapting the encoder makes it another one.

    Slices on which, by what was painted, there can be no segment are neither encoded nor predicted; the published
    methods know no such rule, so that with `code_faithful` there is none.
    """
    adapts = get_method(request.method).adapts_encoder
    ruled_out = _nothing if request.code_faithful else annotation.ruled_out
    every = len(annotation.segmentation.segments)
    asked = [index for index in indices if len(ruled_out(index)) < every]
    settled = sorted({*indices} - {*asked})
    earlier = warm_start.region if warm_start else None
    prediction = blank_prediction(run.volume.geometry.shape, request.confidence is not None)
    settle(prediction, run.axis, settled)
    if settled:
        Previewer(prediction, run.axis, run.context)(settled)
    with run.embeddings(annotation, earlier) as embeddings:
        if not adapts:
            with run.timer.stage("encode"):
                embeddings.ensure(sorted({*annotation.exemplars, *asked}))
        options = LearningOptions(
            steps=request.steps,
            augmented_copies=request.augmented_copies,
            seed=request.seed,
            warm_start=warm_start,
            method=request.method,
            code_faithful=request.code_faithful,
            fresh_augmentation=request.fresh_augmentation,
            contact_sheet=request.contact_sheet,
        )
        learned = learn(run, annotation, embeddings, options)
        if not adapts:
            _predict(run, learned.head, embeddings, asked, prediction, ruled_out)
    if adapts and learned.head.encoder_updates is not None:
        run = adapted_run(run, learned.head.encoder_updates)
        with run.embeddings(annotation, earlier) as embeddings:
            with run.timer.stage("encode"):
                embeddings.ensure(asked)
            _predict(run, learned.head, embeddings, asked, prediction, ruled_out)
    if request.save_model is not None and isinstance(learned.head, FusionHead):
        learned = replace(learned, model=with_exemplars(learned.model, run, annotation))
    if request.save_model is not None:
        learned = replace(learned, model=replace(learned.model, look=Look.of(run.volume, run.window)))
    return run, learned, prediction


def _nothing(index: int) -> frozenset[int]:
    """Nothing is ruled out on any slice."""
    return frozenset()


def _predict(
    run: Run,
    head: Head,
    embeddings: SliceEmbeddings,
    indices: Sequence[int],
    prediction: Prediction,
    ruled_out: Callable[[int], frozenset[int]] = _nothing,
) -> None:
    show = Previewer(prediction, run.axis, run.context)
    with run.timer.stage("predict"):
        predict(head, embeddings, indices, prediction, run.context, show, ruled_out)


def _read_annotation(request: PropagateRequest, volume: Volume, context: JobContext) -> Annotation:
    check_two_files(request.volume, request.annotation)
    context.reading(request.annotation)
    segmentation = read_segmentation(request.annotation)
    context.reading(None)
    placed, placing = place_on(segmentation, volume.geometry)
    check_is_paint(placed, volume)
    annotation, choosing = annotate(placed, request.axis, request.empty_slices, request.painted_slices)
    for warning in (*segmentation.warnings, *placing, *choosing, *odd_paint(annotation)):
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
    request: PropagateRequest,
    volume: Volume,
    annotation: Annotation,
    warm_start: FewShotModel | None,
    context: JobContext,
) -> Normalisation:
    """As asked for; else as the model to start from learned it; else chosen by the volume and what is painted."""
    chosen = request.normalisation not in (None, "auto")
    if request.normalisation is None and warm_start is not None:
        normalisation, chosen = replace(warm_start.normalisation, why="as the model learned it"), True
    else:
        normalisation = parse_normalisation(request.normalisation or "auto", volume)
    normalisation, warnings = fitted(normalisation, volume, annotation, chosen)
    for warning in warnings:
        context.warning(warning)
    return normalisation


def _compute(compute: ComputeOptions, model: FewShotModel | None) -> ComputeOptions:
    """A model brings its own encoder unless another is asked for."""
    return replace(compute, encoder=model.encoder) if model is not None and compute.encoder == "auto" else compute
