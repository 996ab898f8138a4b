"""Training that makes its images on the fly: synthesised pairs, and LoRA, whose gradients pass through the encoder."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.image_io import write_picture
from FewShotSAMLib.engine.contact_sheet import contact_sheet
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.fine_tune import CLEAN_SHARE, Draw, draw_views
from FewShotSAMLib.engine.synthesise import PairMaker
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.methods.augmentation import SliceAugmentation, random_below
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Exemplar, Schedule, Training
from FewShotSAMLib.methods.synthesis import LabelledSlice
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.lora import LARGE_GRID, LoraFactors
from FewShotSAMLib.sam.precision import pick_precision

SYNTHESISED = -1
"""Slice number of a synthesised pair."""
SHOWN_PAIRS = 24
"""Number of pairs on the contact sheet."""
MANY = 2**31 - 1
"""Number of augmented copies and pairs to draw from when none are stored."""
IMAGES_PER_STEP = 2
REAL_VIEWS_FINE = 2
"""Real views per synthesised pair, with fine levels: with only one, the look of the pairs outweighed that of the
structure, and the decoder learned to find nothing."""
BACKWARD_COST, RECOMPUTED_COST = 3.0, 4.0
"""Time of a training step on one image as a multiple of encoding it: forward and backward; with recomputation."""
NO_PAIRS = (
    "No pairs are synthesised: there are as many of them as augmented copies, and after a warm start there are none by "
    "default. Choose a number of augmented copies."
)
LONG_S = 600.0
"""Training time above which the user is warned."""

Encode = Callable[[torch.Tensor], torch.Tensor]
"""Embedding (channels, h, w) of an image (3, S, S) in 0..255."""
SAM_IMAGE_SIZE = 1024


class ImageTraining:
    """What training uses besides the exemplars: nothing, synthesised pairs, or an encoder to adapt.

    pairs: whether to synthesise some; sheet: where to write a picture of them before training; None for nowhere.
    """

    def __init__(
        self,
        run: VolumeRun,
        annotation: Annotation,
        embeddings: SliceEmbeddings,
        seed: int,
        pairs: bool,
        sheet: Path | None,
        fresh: bool,
    ) -> None:
        self._fresh = fresh
        self._run, self._annotation, self._embeddings = run, annotation, embeddings
        maker = PairMaker(annotation, embeddings, seed) if pairs else None
        self._maker = maker if maker and maker.possible else None
        if self._maker is not None and sheet is not None:
            made = [self._to_look_at(self._maker.pair(number)) for number in range(SHOWN_PAIRS)]
            with atomic_path(sheet) as path:  # now: a user who dislikes the pairs need not wait for the training
                write_picture(contact_sheet(made, annotation.segmentation.segments, embeddings.framing.aspect), path)
            run.context.wrote(sheet)

    def phases(
        self, head: Head, exemplars: Sequence[Exemplar], copies: int, training: Training
    ) -> Iterator[tuple[Schedule, Draw | None]]:
        """Each phase of the training and the function that draws its batches; None for views of the exemplars alone.

        With an unchanged encoder there are `copies` pairs for each painted or empty slice, encoded before training.
        With LoRA, or if `fresh` copies are requested, all images are made and encoded at each step.
        """
        if training.on_cache is not None:
            yield training.on_cache, self._draw_of_cache(exemplars, copies, training.on_cache.steps)
        if training.adapting is not None and head.encoder_updates is not None:
            encode, steps = adaptable_encoder(self._run, head.encoder_updates), training.adapting.steps
            yield training.adapting, self._encoding_draw(encode, steps, _gradient_cost(self._run.encoder))

    def _draw_of_cache(self, exemplars: Sequence[Exemplar], copies: int, steps: int) -> Draw | None:
        annotation, embeddings = self._annotation, self._embeddings
        if self._fresh:
            encoder, check = self._run.encoder, self._run.context.check
            return self._encoding_draw(lambda image: encoder.encode(image[None], check)[0], steps, 1.0)
        count = copies * len(annotation.exemplars)
        if self._maker is not None and count == 0:
            self._run.context.warning(NO_PAIRS)
        if self._maker is None or count == 0:
            return None
        with self._run.timer.stage("synthesise"):
            class_count = len(annotation.segmentation.segments)
            made = synthesised_exemplars(self._maker, count, embeddings, class_count)
        return mixed_draw(exemplars, made, self._real_views)

    def _to_look_at(self, pair: LabelledSlice) -> LabelledSlice:
        """The pair without the neighbours, which the encoder sees as colours."""
        return replace(pair, grey=pair.grey[..., 1]) if self._run.encoder.spec.architecture.sees_neighbours else pair

    def _encoding_draw(self, encode: Encode, steps: int, cost: float) -> Draw:
        if is_slow(self._run.encoder):
            warn_of_time(self._run, encode, steps, cost)
        return encoding_draw(self._annotation, self._embeddings, encode, self._maker, self._real_views)

    @property
    def _real_views(self) -> int:
        """Real views per synthesised pair."""
        return REAL_VIEWS_FINE if self._run.encoder.spec.architecture.fine_channels else 1


def is_slow(encoder: Encoder) -> bool:
    """Whether encoding a slice takes seconds rather than a fraction of a second."""
    return encoder.device.type == "cpu" and encoder.image_size >= SAM_IMAGE_SIZE


def synthesised_exemplars(
    maker: PairMaker, count: int, embeddings: SliceEmbeddings, class_count: int
) -> list[Exemplar]:
    """Pairs 0 to count - 1, encoded once and stored in the cache."""
    encoded = embeddings.made(f"synthesised {maker.key} count={count}", count, lambda n: maker.pair(n).grey)
    return [
        _exemplar(SYNTHESISED, embedding, maker.pair(number).classes, class_count, embeddings)
        for number, embedding in enumerate(encoded)
    ]


def mixed_draw(real: Sequence[Exemplar], synthesised: Sequence[Exemplar], real_views: int = 1) -> Draw:
    """Draw batches of `real_views` views of real exemplars and one synthesised pair."""

    def draw(generator: torch.Generator) -> list[Exemplar]:
        return [*draw_views(real, real_views, generator), synthesised[random_below(len(synthesised), generator)]]

    return draw


def encoding_draw(
    annotation: Annotation, embeddings: SliceEmbeddings, encode: Encode, maker: PairMaker | None, real_views: int = 1
) -> Draw:
    """Draw batches whose images are made and encoded at each step: `real_views` real exemplars, unchanged or newly
    augmented, and a synthesised pair; without a maker, two real exemplars."""
    class_count = len(annotation.segmentation.segments)

    def real(index: int, generator: torch.Generator) -> Exemplar:
        shown, classes = (
            embeddings.shown(index),
            np.ascontiguousarray(embeddings.framing.cut(annotation.classes(index))),
        )
        if float(torch.rand((), generator=generator)) >= CLEAN_SHARE:
            augmentation = SliceAugmentation(index, 1 + random_below(MANY, generator))
            shown, classes = augmentation.apply(shown, classes, embeddings.framing.aspect)
        made = _exemplar(index, encode(embeddings.framed(shown)), classes, class_count, embeddings)
        return replace(made, unknown=tuple(sorted(annotation.unknown(index))))

    def draw(generator: torch.Generator) -> list[Exemplar]:
        chosen = torch.randperm(len(annotation.exemplars), generator=generator).tolist()
        indices = [annotation.exemplars[position] for position in chosen[: real_views if maker else IMAGES_PER_STEP]]
        batch = [real(index, generator) for index in indices]
        if maker is not None:
            pair = maker.pair(random_below(MANY, generator))
            embedding = encode(embeddings.framed(pair.grey))
            batch.append(_exemplar(SYNTHESISED, embedding, pair.classes, class_count, embeddings))
        return batch

    return draw


def adaptable_encoder(run: VolumeRun, factors: LoraFactors) -> Encode:
    """The encoder's original layers in float32 with the updates `factors`, so that gradients reach the updates."""
    sam, _ = load_sam(run.encoder.spec, run.compute.checkpoint, warn=run.context.warning)
    network = sam.image_encoder.to(run.encoder.device)
    factors.attach(network)
    return lambda image: factors.encode(network, run.encoder.normalise(image)[None], run.context.check)[0]


def warn_of_time(run: VolumeRun, encode: Encode, steps: int, cost: float) -> None:
    """Encode one blank image to estimate the training time, and warn the user before training starts if it is long.

    cost: time of training on one image as a multiple of encoding it.
    """
    size = run.encoder.image_size
    started = time.perf_counter()
    with torch.no_grad():
        encode(torch.zeros(3, size, size))
    seconds = (time.perf_counter() - started) * cost * IMAGES_PER_STEP * steps
    if seconds >= LONG_S:
        run.context.warning(
            f"Training with the encoder “{run.encoder.spec.name}” at every step takes about {_duration(seconds)} on "
            f"this computer ({steps} steps). If that is too long, cancel and choose fewer steps, a GPU, a smaller "
            "encoder, or a method that learns from embeddings."
        )


def adapted_run(run: VolumeRun, factors: LoraFactors) -> VolumeRun:
    """The same volume with an encoder that has the updates merged into its weights.

    Its weights have their own hash, so its embeddings have their own cache key.
    """
    spec, device = run.encoder.spec, run.encoder.device
    sam, weights_hash = load_sam(spec, run.compute.checkpoint, warn=run.context.warning)
    factors.merge(sam.image_encoder)
    precision, automatic = pick_precision(run.compute.precision, device, spec), run.compute.precision == "auto"
    encoder = Encoder(spec, sam, factors.adapted_hash(weights_hash), device, precision, automatic, run.context.warning)
    return replace(run, encoder=encoder)


def _gradient_cost(encoder: Encoder) -> float:
    large = encoder.spec.architecture.embedding_size >= LARGE_GRID
    return RECOMPUTED_COST if large else BACKWARD_COST


def _exemplar(
    index: int, embedding: torch.Tensor, classes: np.ndarray, class_count: int, embeddings: SliceEmbeddings
) -> Exemplar:
    """An exemplar for methods that use no tokens."""
    target, weight = embeddings.framing.target(classes, class_count)
    return Exemplar(index, 0, embedding, target.half(), weight.half(), torch.empty(0))


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{seconds / 3600:.0f} hours"
