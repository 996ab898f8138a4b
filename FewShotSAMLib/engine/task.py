"""What the engine gives a method to learn from, and how it trains the method's head."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import RegionalEmbeddings, SliceEmbeddings
from FewShotSAMLib.engine.exemplars import collect_exemplars
from FewShotSAMLib.engine.fine_tune import fine_tune
from FewShotSAMLib.engine.image_training import ImageTraining, is_slow
from FewShotSAMLib.engine.request import PropagateOptions
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Exemplar, Parts, RegionTask, State, Task, Teacher, Training
from FewShotSAMLib.sam.encoder import Encoder

AUGMENTED_COPIES = 8
AUGMENTED_COPIES_SLOW = 2
"""With a large encoder on a CPU, where a copy costs seconds."""


def parts_of(encoder: Encoder, class_count: int) -> Parts:
    """What heads on this encoder are built from."""
    return Parts(*encoder.sam_parts(), encoder.spec.architecture, class_count, encoder.own_decoder_layers())


class PlainTeacher(Teacher):
    """A `methods.interface.Teacher` that trains on the exemplars stored in a model."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    def train(self, head: Head, exemplars: Sequence[Exemplar], training: Training, pairs: bool = False) -> None:
        assert training.on_cache is not None
        fine_tune(head, exemplars, training.on_cache, 0, self._context, stage="adapt")


@dataclass
class EngineTask(Task):
    """A run and its annotation as a `methods.interface.Task`. trained, loss: steps and last loss, for the report.

    Two of the options: fresh_augmentation makes and encodes new augmented copies at each step, as AutoSAM's code does;
    contact_sheet is where a picture of the synthesised pairs is written, before training starts.
    """

    run: VolumeRun
    annotation: Annotation
    embeddings: SliceEmbeddings
    settings: Any
    warm_start: State | None
    options: PropagateOptions
    trained: int = field(default=0, init=False)
    loss: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Derive the remaining fields."""
        options, encoder, geometry = self.options, self.run.encoder, self.run.volume.geometry
        self.steps, self.augmented_copies = options.steps, options.augmented_copies
        self.seed, self.code_faithful = options.seed, options.code_faithful
        self.architecture, self.device = encoder.spec.architecture, encoder.device
        self.depth, self.step_mm = geometry.shape[self.run.axis], geometry.spacing_kji[self.run.axis]
        self.usual_copies = self._usual_copies()

    def _usual_copies(self) -> int:
        """As many as requested; otherwise none if they are made at each step, or after a warm start, so that adding a
        painted slice to a volume that was propagated before needs no encoder pass at all."""
        if self.augmented_copies is not None and not self.options.fresh_augmentation:
            return self.augmented_copies
        if self.options.fresh_augmentation or self.warm_start is not None:
            return 0
        return AUGMENTED_COPIES_SLOW if is_slow(self.run.encoder) else AUGMENTED_COPIES

    def parts(self) -> Parts:
        return parts_of(self.run.encoder, len(self.annotation.segmentation.segments))

    @contextmanager
    def seeded(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            yield

    def stage(self, name: str) -> AbstractContextManager[None]:
        return self.run.timer.stage(name)

    def progress(self, stage: str, done: int, total: int) -> None:
        self.run.context.progress(stage, done, total)

    def exemplars(self, copies: int, stride: int, unchanged: Sequence[Exemplar] = ()) -> list[Exemplar]:
        with self.stage("augment"):
            return collect_exemplars(self.annotation, self.embeddings, copies, stride, self.run.context, unchanged)

    def whole_body(self) -> AbstractContextManager[SliceEmbeddings]:
        return self.run.embeddings()

    def train(self, head: Head, exemplars: Sequence[Exemplar], training: Training, pairs: bool = False) -> None:
        """Train each phase in turn; the loss is that of the last phase."""
        sheet, fresh = self.options.contact_sheet, self.options.fresh_augmentation and head.takes_views
        images = ImageTraining(self.run, self.annotation, self.embeddings, self.seed, pairs, sheet, fresh)
        done = 0
        for schedule, draw in images.phases(head, exemplars, self.usual_copies, training):
            with self.stage("fine-tune"):
                part = (done, training.steps)
                self.loss = fine_tune(head, exemplars, schedule, self.seed, self.run.context, draw, part)
            done += schedule.steps
        self.trained = training.steps

    def regions(self) -> list[RegionTask]:
        if not isinstance(self.embeddings, RegionalEmbeddings):
            return []
        return [
            RegionTask(part.labels, replace(self, annotation=part.annotation, embeddings=part.embeddings), part.needs)
            for part in self.embeddings.regions
        ]

    def is_enough(self) -> bool:
        return self.run.context.is_enough()

    def record(self, steps: int, loss: float | None) -> None:
        self.trained, self.loss = self.trained + steps, loss
