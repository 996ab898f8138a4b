"""Learns from the exemplars of one volume, from scratch or starting from an earlier few-shot model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError, is_memory_shortage
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.core.window_fit import IntensityProfile
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.request import ComputeOptions, PropagateOptions
from FewShotSAMLib.engine.task import EngineTask, PlainTeacher, parts_of
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.engine.warm import warm_encoder
from FewShotSAMLib.methods.interface import Predictor
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.registry import get_spec


@dataclass(frozen=True)
class Learned:
    """A predictor; the model from which it can be restored, which may have to be computed; and its task."""

    predictor: Predictor
    model: Callable[[], FewShotModel]
    task: EngineTask

    def more(self) -> bool:
        """Learn what takes longer, now that there is a first result; True if slices are to be predicted again."""
        return self.predictor.learn_more(self.task)

    @property
    def training(self) -> dict[str, Any]:
        """The number of training steps, and the loss of the last ones."""
        return {"steps": self.task.trained, "loss": self.task.loss}


def learn(
    run: VolumeRun,
    annotation: Annotation,
    embeddings: SliceEmbeddings,
    options: PropagateOptions,
    warm_start: FewShotModel | None = None,
    correction: tuple[Predictor, Mapping[int, frozenset[int]]] | None = None,
) -> Learned:
    """Fit the method to the annotation's exemplars, starting from a model or else from the checkpoint's decoder; or
    correct a predictor, which then searches for the given segments on the given slices and keeps its other results."""
    method = get_method(options.method).load().for_encoder(run.encoder.spec.architecture)
    values = {"code_faithful": True} if options.code_faithful else {}
    settings = warm_start.settings if warm_start else method.settings(**values)
    task = EngineTask(run, annotation, embeddings, settings, warm_start.state if warm_start else None, options)
    predictor = method.fit(task) if correction is None else method.correct(correction[0], task, correction[1])
    region = embeddings.framing.crop if run.encoder.spec.architecture.sees_region else None

    def model() -> FewShotModel:
        return FewShotModel(
            method=options.method,
            encoder=run.encoder.spec.name,
            weights_hash=run.encoder.weights_hash,
            normalisation=run.normalisation,
            plane=run.plane.name,
            settings=settings,
            segments=annotation.segmentation.segments,
            state=predictor.state(),
            region=region,
            look=IntensityProfile.of(run.volume, run.window),
        )

    return Learned(predictor, model, task)


def check_encoder(model: FewShotModel, encoder: Encoder) -> None:
    """Raise BadInputError if the model was learned with another encoder or other weights."""
    if model.encoder != encoder.spec.name or model.weights_hash != encoder.weights_hash:
        raise BadInputError(
            f"The few-shot model was learned on the encoder {model.encoder} ({model.weights_hash[:8]}), "
            f"not on {encoder.spec.name} ({encoder.weights_hash[:8]}).",
            hint("encoder-of-model", encoder=model.encoder),
        )


def restored(model: FewShotModel, encoder: Encoder) -> Predictor:
    """The predictor restored from a model. Raises BadInputError if parts are missing or have other shapes."""
    method = get_method(model.method).load().for_encoder(encoder.spec.architecture)
    shown = model.state.shown
    try:
        if shown is not None and shown.features.shape[1:] != encoder.embedding_shape:
            raise ValueError(f"exemplars {tuple(shown.features.shape)}")
        return method.restore(parts_of(encoder, len(model.segments)), model.settings, model.state, encoder.device)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if is_memory_shortage(error):
            raise
        raise BadInputError(f"The few-shot model is incomplete or damaged ({error}).", "Learn it again.") from error


def ready_for_transfer(model: FewShotModel, encoder: Encoder, context: JobContext) -> FewShotModel:
    """The model with all that volumes unlike its own need; the model itself if it has that already. Raises the errors
    of `restored`, and CancelledError."""
    if not _knows_others(model):
        return model
    check_encoder(model, encoder)
    predictor = restored(model, encoder)
    if not predictor.learn_for_others(PlainTeacher(context)):
        return model
    return replace(model, state=predictor.state())


def completed(model: FewShotModel, compute: ComputeOptions, context: JobContext) -> FewShotModel:
    """`ready_for_transfer` with the model's own encoder, which is loaded only if there is something to learn."""
    if not _knows_others(model):
        return model
    return ready_for_transfer(model, warm_encoder(replace(compute, encoder=model.encoder), context), context)


def _knows_others(model: FewShotModel) -> bool:
    """Whether the method learns something for other volumes; methods that do not may adapt the encoder by LoRA."""
    return get_method(model.method).load().for_encoder(get_spec(model.encoder).architecture).transfers


def check_warm_start(model: FewShotModel, plane: SlicePlane, method: str, segment_count: int) -> None:
    """Raise BadInputError if the model's plane or method differs, or, unless the method allows it, its number of
    segments."""
    if model.method != method:
        raise BadInputError(
            f"The few-shot model was learned by the method {model.method}, not {method}.",
            hint("method-of-model", method=model.method),
        )
    if not get_method(method).load().any_segments and len(model.segments) != segment_count:
        raise BadInputError(
            f"The few-shot model knows {len(model.segments)} segment(s), but the annotation has {segment_count}.",
            "Paint the same segments, or learn again without the model.",
        )
    if model.plane != plane.name:
        raise BadInputError(
            f"The few-shot model learned {model.plane} slices, but {plane.name} slices are painted.",
            f"Paint {model.plane} slices, or learn again without the model.",
        )
