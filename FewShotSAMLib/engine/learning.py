"""Learns from the exemplars of one volume, from scratch or from an earlier few-shot model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.core.window_fit import Look
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.task import EngineTask
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.methods.interface import Predictor
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, get_method
from FewShotSAMLib.sam.encoder import Encoder


@dataclass(frozen=True)
class LearningOptions:
    """How to train; None leaves the choice to us.

    steps of training; augmented copies of each exemplar; the model to start from (None: the checkpoint's decoder);
    code_faithful: as the method's authors published it; the others as in `EngineTask`.
    """

    steps: int | None = None
    augmented_copies: int | None = None
    seed: int = 0
    warm_start: FewShotModel | None = None
    method: str = DEFAULT_METHOD
    code_faithful: bool = False
    contact_sheet: Path | None = None
    fresh_augmentation: bool = False


@dataclass(frozen=True)
class Learned:
    """A predictor; the model file's content that makes it again, which may have to be computed; and the training."""

    predictor: Predictor
    model: Callable[[], FewShotModel]
    steps: int
    loss: float | None


def learn(run: VolumeRun, annotation: Annotation, embeddings: SliceEmbeddings, options: LearningOptions) -> Learned:
    """Fit the method to the annotation's exemplars."""
    warm_start = options.warm_start
    method = get_method(options.method).load().for_encoder(run.encoder.spec.architecture)
    values = {"code_faithful": True} if options.code_faithful else {}
    settings = warm_start.settings if warm_start else method.settings(**values)
    task = EngineTask(
        run,
        annotation,
        embeddings,
        settings,
        warm_start.state if warm_start else None,
        options.steps,
        options.augmented_copies,
        options.seed,
        options.code_faithful,
        options.fresh_augmentation,
        options.contact_sheet,
    )
    predictor = method.fit(task)
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
            look=Look.of(run.volume, run.window),
        )

    return Learned(predictor, model, task.trained, task.loss)


def check_encoder(model: FewShotModel, encoder: Encoder) -> None:
    """Raise BadInputError where the model was learned on another encoder or other weights."""
    if model.encoder != encoder.spec.name or model.weights_hash != encoder.weights_hash:
        raise BadInputError(
            f"The few-shot model was learned on the encoder {model.encoder} ({model.weights_hash[:8]}), "
            f"not on {encoder.spec.name} ({encoder.weights_hash[:8]}).",
            hint("encoder-of-model", encoder=model.encoder),
        )


def check_warm_start(model: FewShotModel, plane: SlicePlane, method: str, segment_count: int) -> None:
    """Raise BadInputError where the model learned slices of another plane, by another method, or other segments."""
    if model.method != method:
        raise BadInputError(
            f"The few-shot model was learned by the method {model.method}, not {method}.",
            hint("method-of-model", method=model.method),
        )
    if not get_method(method).load().any_segments and len(model.segments) != segment_count:
        raise BadInputError(
            f"The few-shot model knows {len(model.segments)} segment(s), but the annotation has {segment_count}.",
            "Paint the same segments, or learn anew without the model.",
        )
    if model.plane != plane.name:
        raise BadInputError(
            f"The few-shot model learned {model.plane} slices, but {plane.name} slices are painted.",
            f"Paint {model.plane} slices, or learn anew without the model.",
        )
