"""Learns a head from the exemplars of one volume, from SAM's decoder or from an earlier few-shot model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.exemplars import Exemplar, collect_exemplars, tokens_of
from FewShotSAMLib.engine.fine_tune import Draw, Schedule, fine_tune
from FewShotSAMLib.engine.guidance import make_guide
from FewShotSAMLib.engine.image_training import ImageTraining, is_slow
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.run import Run
from FewShotSAMLib.engine.schedules import Training, plan_training
from FewShotSAMLib.methods.fusion_head import FusionHead
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.pixel_classifier import PixelClassifierHead
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, Method, Parts, get_method
from FewShotSAMLib.sam.encoder import Encoder

GUIDED_STEPS = 12
GUIDED_WARM_STEPS = 3
GUIDED_LEARNING_RATE = 5e-5

AUGMENTED_COPIES = 8
AUGMENTED_COPIES_SLOW = 2
"""With a large encoder on a CPU, where a copy costs seconds."""


@dataclass(frozen=True)
class LearningOptions:
    """How to train; None leaves the choice to us.

    steps of training; augmented copies of each exemplar; the model to start from (None: the checkpoint's decoder);
    code_faithful: as the method's authors published it; contact_sheet: where a picture of synthesised pairs goes, at
    once; fresh_augmentation: augmented copies are made and encoded anew at each step, as AutoSAM's code does.
    """

    steps: int | None = None
    augmented_copies: int | None = None
    seed: int = 0
    warm_start: FewShotModel | None = None
    method: str = DEFAULT_METHOD
    code_faithful: bool = False
    contact_sheet: Path | None = None
    fresh_augmentation: bool = False

    def training(self, encoder: Encoder) -> Training:
        """The training that follows."""
        method, compact = get_method(self.method), encoder.spec.looks_closely
        return plan_training(method, compact, self.code_faithful, self.warm_start is not None, self.steps)

    def guided_schedule(self, painted: int) -> Schedule:
        """The schedule for a decoder that was trained on episodes: it needs little, and at least two painted slices."""
        steps = GUIDED_STEPS if self.warm_start is None else GUIDED_WARM_STEPS
        steps = steps if self.steps is None else self.steps
        return Schedule(steps if painted > 1 else 0, learning_rate=GUIDED_LEARNING_RATE)


@dataclass(frozen=True)
class Learned:
    """A head that predicts, and the model file's content that makes it again."""

    head: Head
    model: FewShotModel
    steps: int
    loss: float | None


def new_head(method: Method, encoder: Encoder, class_count: int, settings: Any, seed: int = 0) -> Head:
    """The method's head with the mask decoder of the encoder's checkpoint, on the encoder's device."""
    parts = Parts(*encoder.sam_parts(), encoder.spec.architecture, class_count, encoder.fusion_layers())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.new_head(parts, settings).to(encoder.device)


def learn(run: Run, annotation: Annotation, embeddings: SliceEmbeddings, options: LearningOptions) -> Learned:
    """Fine-tune on the annotation's exemplars.

    After a warm start there are no augmented copies unless asked for, so that a slice added to a volume that was
    propagated before needs no encoder at all.
    """
    warm_start = options.warm_start
    method = get_method(options.method)
    settings = warm_start.settings if warm_start else _new_settings(method, options)
    head = new_head(method, run.encoder, len(annotation.segmentation.segments), settings, options.seed)
    if warm_start is not None:
        warm_start.load_into(head)
    else:
        head.calibrate(lambda: _embedded(annotation, embeddings).to(run.encoder.device).float())
    guided = isinstance(head, FusionHead)
    copies = 0 if guided else _copies(options, run.encoder)
    training = options.training(run.encoder)
    exemplars = []
    if training.on_cache is not None:
        with run.timer.stage("augment"):
            exemplars = collect_exemplars(annotation, embeddings, copies, head.logit_stride, run.context)
    tokens = tokens_of(exemplars, settings) if method.needs_tokens and not guided else []
    head.set_support(tokens)
    if isinstance(head, FusionHead):
        with run.timer.stage("priors"):
            head.follow(make_guide(run, exemplars, embeddings))
        exemplars = [exemplar for exemplar in exemplars if exemplar.slice_index in annotation.painted]
        training = Training(options.guided_schedule(len(exemplars)), None)
    if isinstance(head, PixelClassifierHead):
        loss: float | None = _solve(run, head, exemplars, options.seed)
    else:
        fresh = options.fresh_augmentation and not guided
        made = ImageTraining(run, method, annotation, embeddings, options.seed, options.contact_sheet, fresh)
        loss = _train(run, head, exemplars, training, made.phases(head, exemplars, copies, training), options.seed)
    model = FewShotModel(
        method=method.name,
        encoder=run.encoder.spec.name,
        weights_hash=run.encoder.weights_hash,
        normalisation=run.normalisation,
        plane=run.plane.name,
        settings=settings,
        segments=annotation.segmentation.segments,
        tokens=tuple(token for token in tokens if token.copy == 0),
        tensors=head.state_dict(),
        region=embeddings.framing.crop if run.encoder.spec.looks_closely else None,
    )
    return Learned(head, model, training.steps, loss)


def _train(
    run: Run,
    head: Head,
    exemplars: Sequence[Exemplar],
    training: Training,
    phases: Iterable[tuple[Schedule, Draw | None]],
    seed: int,
) -> float | None:
    """The last phase's loss."""
    loss, done = None, 0
    for schedule, draw in phases:
        with run.timer.stage("fine-tune"):
            loss = fine_tune(head, exemplars, schedule, seed, run.context, draw, (done, training.steps))
        done += schedule.steps
    return loss


def _solve(run: Run, head: PixelClassifierHead, exemplars: Sequence[Exemplar], seed: int) -> float:
    with run.timer.stage("fine-tune"):
        run.context.progress("fine-tune", 0, 1)
        embeddings = torch.stack([exemplar.embedding for exemplar in exemplars]).to(run.encoder.device).float()
        target, weight = (torch.stack([getattr(one, name) for one in exemplars]) for name in ("target", "weight"))
        loss = head.solve(head.read(embeddings), target, weight, seed)
        run.context.progress("fine-tune", 1, 1)
    return loss


def _embedded(annotation: Annotation, embeddings: SliceEmbeddings) -> torch.Tensor:
    embeddings.ensure(annotation.exemplars)
    return embeddings.slices(annotation.exemplars)


def _new_settings(method: Method, options: LearningOptions) -> Any:
    return method.new_settings({"code_faithful": True} if options.code_faithful else None)


def _copies(options: LearningOptions, encoder: Encoder) -> int:
    if options.fresh_augmentation:
        return 0
    if options.augmented_copies is not None:
        return options.augmented_copies
    if options.warm_start is not None or get_method(options.method).solved:
        return 0
    return AUGMENTED_COPIES_SLOW if is_slow(encoder) else AUGMENTED_COPIES


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
    if not get_method(method).needs_tokens and len(model.segments) != segment_count:
        raise BadInputError(
            f"The few-shot model knows {len(model.segments)} segment(s), but the annotation has {segment_count}.",
            "Paint the same segments, or learn anew without the model.",
        )
    if model.plane != plane.name:
        raise BadInputError(
            f"The few-shot model learned {model.plane} slices, but {plane.name} slices are painted.",
            f"Paint {model.plane} slices, or learn anew without the model.",
        )
