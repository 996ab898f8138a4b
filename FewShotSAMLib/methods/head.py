"""Methods that train a head on the frozen encoder's embeddings: the head's base class, and its training schedule.

The papers give no schedules for a few slices, so the numbers are ours.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.interface import Exemplar, Method, Parts, Predictor, Schedule, State, Task, Training
from FewShotSAMLib.methods.loss import segmentation_loss
from FewShotSAMLib.sam.framing import LOGIT_STRIDE
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS, Architecture

COLD_STEPS = 200
WARM_STEPS = 30
WARM_LEARNING_RATE = 2e-4
"""Lower than from scratch, so that earlier learning is not lost."""
ADAPTING_SHARE = 0.25
"""With fine levels, LoRA trains only in the last quarter of the steps. Until then the encoder is unchanged, so that its
embeddings can come from the cache, which makes a step several times faster."""
ADAPTING_LEARNING_RATE = WARM_LEARNING_RATE
"""By then the decoder has already learned, as after a warm start; restarted at the full rate, it forgot."""


class Head(nn.Module, Predictor):
    """Turns embeddings (B, channels, h, w) into logits (B, C + 1, H, W) of background and C segments.

    Parameters with requires_grad are those that fine-tuning changes.
    """

    channels: int | None = EMBEDDING_CHANNELS
    """Number of the embedding's channels that the head reads; None for all."""
    logit_stride = LOGIT_STRIDE
    """Pixels of the encoder's image per pixel of the logits."""
    takes_views = True
    """Whether the head can learn from augmented copies of a slice."""

    @abstractmethod
    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits of exemplars during training; `slices` gives the slice number of each item of the batch."""

    @abstractmethod
    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Logits of new slices; `slices` gives the slice number of each item of the batch; `number` counts passes
        from 0."""

    def predict(self, embeddings: Tensor, slices: Sequence[int], number: int = 0) -> Tensor:
        """`logits` of the channels that the head reads, on its device."""
        device = next(self.parameters()).device
        return self.logits(self.read(embeddings.to(device).float()), slices, number)

    def read(self, embeddings: Tensor) -> Tensor:
        """The channels (B, channels, h, w) of embeddings that the head reads."""
        return embeddings if self.channels is None else embeddings[:, : self.channels]

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The training loss; by default, and with the arguments of, `segmentation_loss`."""
        return segmentation_loss(logits, target, weight)

    def learn_from(self, exemplars: Sequence[Exemplar]) -> None:
        """Called before training with all exemplars; by default, nothing of them is kept."""

    def calibrate(self, exemplars: Callable[[], Tensor]) -> None:
        """Called before training from scratch, to scale inputs. `exemplars` returns their full embeddings
        (n, channels, h, w); heads that scale nothing do not call it, as encoding may take minutes."""

    def state(self) -> State:
        """The weights."""
        return State(self.state_dict())

    def load(self, state: State) -> None:
        """Load the weights. Raises BadInputError if they do not fit."""
        try:
            self.load_state_dict(state.tensors)
        except RuntimeError as error:
            raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it again.") from error

    def trainable(self) -> list[nn.Parameter]:
        """The parameters that fine-tuning changes."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """The trainable parameters in groups, each with its learning rate as a multiple of the schedule's."""
        return [(self.trainable(), 1.0)]


class HeadMethod(Method):
    """A method whose predictor is a head.

    learning_rate: the schedule's maximum, if the default is too low for so few steps; not used with `code_faithful`.
    fine_learning_rate, fine_steps: used instead if the encoder has fine levels (tuned on synthetic volumes alone).
    """

    learning_rate: float | None = None
    fine_learning_rate: float | None = None
    fine_steps = 150

    @abstractmethod
    def new_head(self, parts: Parts, settings: Any) -> Head:
        """The untrained head. Random weights are drawn from torch's global generator."""

    def plan(self, architecture: Architecture, faithful: bool, warm: bool, steps: int | None) -> Training:
        """The training schedule; steps: the user's choice, None for the default; faithful: as the method's authors
        published it."""
        if warm:
            schedule = Schedule(WARM_STEPS if steps is None else steps, learning_rate=WARM_LEARNING_RATE)
        elif architecture.fine_channels and not faithful:
            return self._plan_with_fine_levels(self.fine_steps if steps is None else steps)
        else:
            schedule = Schedule(COLD_STEPS if steps is None else steps)
            if self.learning_rate is not None and not faithful:
                schedule = replace(schedule, learning_rate=self.learning_rate)
        return Training(None, schedule) if self.adapts_encoder else Training(schedule)

    def _plan_with_fine_levels(self, steps: int) -> Training:
        rate = self.fine_learning_rate or self.learning_rate or Schedule.learning_rate
        if not self.adapts_encoder:
            return Training(Schedule(steps, learning_rate=rate))
        adapting = math.ceil(ADAPTING_SHARE * steps)
        last = Schedule(adapting, learning_rate=ADAPTING_LEARNING_RATE)
        return Training(Schedule(steps - adapting, learning_rate=rate), last)

    def start(self, task: Task) -> Head:
        """The head to start training from: that of an earlier model, or a new one scaled by the exemplars."""
        with task.seeded():
            head = self.new_head(task.parts(), task.settings).to(task.device)
        if task.warm_start is not None:
            head.load(task.warm_start)
        else:
            head.calibrate(lambda: _embedded(task))
        return head

    def fit(self, task: Task) -> Predictor:
        head = self.start(task)
        training = self.plan(task.architecture, task.code_faithful, task.warm_start is not None, task.steps)
        exemplars: list[Exemplar] = []
        if training.on_cache is not None:
            exemplars = task.exemplars(task.usual_copies, head.logit_stride)
        head.learn_from(exemplars)
        task.train(head, exemplars, training, pairs=self.synthesises)
        return head

    def restore(self, parts: Parts, settings: Any, state: State, device: torch.device) -> Predictor:
        head = self.new_head(parts, settings).to(device)
        head.load(state)
        return head


def _embedded(task: Task) -> Tensor:
    indices = task.annotation.exemplars
    task.embeddings.ensure(indices)
    return task.embeddings.slices(indices).to(task.device).float()
