"""Learns a few-shot head from the exemplars of one volume, from SAM's decoder or from an earlier few-shot model."""

from dataclasses import dataclass

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.exemplars import collect_exemplars, tokens_of
from FewShotSAMLib.engine.fine_tune import Schedule, fine_tune
from FewShotSAMLib.engine.guidance import make_guide
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.run import Run
from FewShotSAMLib.methods.decoder import TokenDecoder
from FewShotSAMLib.methods.few_shot import FewShotHead, FewShotSettings
from FewShotSAMLib.methods.fusion_head import FusionHead
from FewShotSAMLib.methods.tokens import Token
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.fusion import FusionDecoder

COLD_STEPS = 200
WARM_STEPS = 30
WARM_LEARNING_RATE = 2e-4
"""Lower than from scratch, so that what was learned before is not lost."""

GUIDED_STEPS = 30
GUIDED_WARM_STEPS = 10
GUIDED_LEARNING_RATE = 1e-4

SAM_IMAGE_SIZE = 1024
AUGMENTED_COPIES = 8
AUGMENTED_COPIES_SLOW = 2
"""With a large encoder on a CPU, where a copy costs seconds."""


@dataclass(frozen=True)
class LearningOptions:
    """How to train; None leaves the choice to us.

    steps of training; augmented copies of each exemplar; the model to start from (None: the checkpoint's decoder).
    """

    steps: int | None = None
    augmented_copies: int | None = None
    seed: int = 0
    warm_start: FewShotModel | None = None

    @property
    def schedule(self) -> Schedule:
        """The training schedule that follows."""
        if self.warm_start is not None:
            return Schedule(WARM_STEPS if self.steps is None else self.steps, learning_rate=WARM_LEARNING_RATE)
        return Schedule(COLD_STEPS if self.steps is None else self.steps)

    def guided_schedule(self, painted: int) -> Schedule:
        """The schedule for a decoder that was trained on episodes: it needs little, and at least two painted slices."""
        steps = GUIDED_STEPS if self.warm_start is None else GUIDED_WARM_STEPS
        steps = steps if self.steps is None else self.steps
        return Schedule(steps if painted > 1 else 0, learning_rate=GUIDED_LEARNING_RATE)


@dataclass(frozen=True)
class Learned:
    """A head that predicts, and the model file's content that makes it again."""

    head: FewShotHead | FusionHead
    model: FewShotModel
    steps: int
    loss: float | None


def new_head(encoder: Encoder, class_count: int, settings: FewShotSettings) -> FewShotHead | FusionHead:
    """A few-shot head with the mask decoder of the encoder's checkpoint, on the encoder's device."""
    mask_decoder, prompt_encoder = encoder.sam_parts()
    layers = encoder.fusion_layers()
    if layers is not None:
        return FusionHead(FusionDecoder(mask_decoder, prompt_encoder, layers), class_count).to(encoder.device).eval()
    return FewShotHead(TokenDecoder(mask_decoder, prompt_encoder), class_count, settings).to(encoder.device)


def learn(run: Run, annotation: Annotation, embeddings: SliceEmbeddings, options: LearningOptions) -> Learned:
    """Fine-tune on the annotation's exemplars.

    After a warm start there are no augmented copies unless asked for, so that a slice added to a volume that was
    propagated before needs no encoder at all.
    """
    warm_start = options.warm_start
    settings = warm_start.settings if warm_start else FewShotSettings()
    head = new_head(run.encoder, len(annotation.segmentation.segments), settings)
    if warm_start is not None:
        warm_start.load_into(head)
    guided = isinstance(head, FusionHead)
    with run.timer.stage("augment"):
        copies = 0 if guided else _copies(options, run.encoder)
        exemplars = collect_exemplars(annotation, embeddings, copies, head.logit_stride, run.context)
    tokens: list[Token] = []
    if isinstance(head, FusionHead):
        with run.timer.stage("priors"):
            head.follow(make_guide(run, exemplars, embeddings))
        exemplars = [exemplar for exemplar in exemplars if exemplar.slice_index in annotation.painted]
    else:
        tokens = tokens_of(exemplars, settings)
        head.set_support(tokens)
    schedule = options.guided_schedule(len(exemplars)) if guided else options.schedule
    with run.timer.stage("fine-tune"):
        loss = fine_tune(head, exemplars, schedule, options.seed, run.context)
    model = FewShotModel(
        method="few-shot",
        encoder=run.encoder.spec.name,
        weights_hash=run.encoder.weights_hash,
        normalisation=run.normalisation,
        plane=run.plane.name,
        settings=settings,
        segments=annotation.segmentation.segments,
        tokens=tuple(token for token in tokens if token.copy == 0),
        tensors=head.state_dict(),
        region=embeddings.framing.crop if guided else None,
    )
    return Learned(head, model, schedule.steps, loss)


def _copies(options: LearningOptions, encoder: Encoder) -> int:
    if options.augmented_copies is not None:
        return options.augmented_copies
    if options.warm_start is not None:
        return 0
    return AUGMENTED_COPIES_SLOW if _is_slow(encoder) else AUGMENTED_COPIES


def _is_slow(encoder: Encoder) -> bool:
    """Whether a slice takes seconds rather than a fraction of one."""
    return encoder.device.type == "cpu" and encoder.image_size >= SAM_IMAGE_SIZE


def check_encoder(model: FewShotModel, encoder: Encoder) -> None:
    """Raise BadInputError where the model was learned on another encoder or other weights."""
    if model.encoder != encoder.spec.name or model.weights_hash != encoder.weights_hash:
        raise BadInputError(
            f"The few-shot model was learned on the encoder {model.encoder} ({model.weights_hash[:8]}), "
            f"not on {encoder.spec.name} ({encoder.weights_hash[:8]}).",
            f"Use --encoder {model.encoder} with the same checkpoint, or learn anew without the model.",
        )


def check_warm_start(model: FewShotModel, plane: SlicePlane) -> None:
    """Raise BadInputError where the model learned slices of another plane."""
    if model.plane != plane.name:
        raise BadInputError(
            f"The few-shot model learned {model.plane} slices, but {plane.name} slices are painted.",
            f"Paint {model.plane} slices, or learn anew without the model.",
        )
