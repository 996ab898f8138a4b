"""The engine's interface to a method: `fit` makes a predictor from a task, `restore` makes one from a model's file."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.methods.tokens import Token
from FewShotSAMLib.sam.registry import Architecture

if TYPE_CHECKING:
    import torch

    from FewShotSAMLib.sam.framing import Framing
    from FewShotSAMLib.sam.lora import LoraFactors
    from FewShotSAMLib.sam.modeling import MaskDecoder, PromptEncoder


@dataclass(frozen=True)
class Exemplar:
    """One view of a painted or empty slice: copy 0 is the slice itself, the others are augmented copies.

    embedding (channels, h, w) float16; target (C + 1, H, W) and weight (H, W) as in Framing.target; cells
    (C + 1, h, w), the area of each class in each cell of the embedding; unknown: segments 1..C that may be present
    where the target shows background. If there are any, no cell counts as background.
    """

    slice_index: int
    copy: int
    embedding: Tensor
    target: Tensor
    weight: Tensor
    cells: Tensor
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True)
class ExemplarFeatures:
    """n exemplars: features (n, channels, h, w) and masks (n, C, H, W), each segment's share of each pixel. Enough to
    predict another volume. known (n, C) bool: which segments' shares are known; None if all are."""

    features: Tensor
    masks: Tensor
    known: Tensor | None = None

    def numbers(self, label: int) -> list[int]:
        """The exemplars, counted from 0, on which segment `label` is known."""
        return list(range(len(self.masks))) if self.known is None else self.known[:, label - 1].nonzero()[:, 0].tolist()

    @property
    def labels(self) -> list[int]:
        """Segments 1..C that any exemplar shows."""
        return [label for label in range(1, self.masks.shape[1] + 1) if bool((self.masks[:, label - 1] > 0).any())]


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay; the papers give no schedule for a few slices, so the numbers are
    ours."""

    steps: int
    batch: int = 2
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    warm_up: int = 10
    max_gradient: float = 1.0

    def factor(self, step: int) -> float:
        """Learning rate at `step` as a share of the maximum."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return rising * 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps)))


@dataclass(frozen=True)
class Training:
    """on_cache: steps on embeddings of the unchanged encoder, if any; adapting: subsequent steps that also train the
    encoder, if any."""

    on_cache: Schedule | None
    adapting: Schedule | None = None

    @property
    def steps(self) -> int:
        """The total number of steps."""
        return sum(schedule.steps for schedule in (self.on_cache, self.adapting) if schedule is not None)


@dataclass(frozen=True)
class State:
    """What a model's file stores of a predictor. tokens: few-shot tokens; shown: exemplars, for use on other volumes;
    for_others: whether the tensors include what other volumes need besides."""

    tensors: dict[str, Tensor]
    tokens: tuple[Token, ...] = ()
    shown: ExemplarFeatures | None = None
    for_others: bool = False


@dataclass(frozen=True)
class Parts:
    """What a head is built from: fresh copies of SAM's decoder and prompt encoder, the encoder's architecture, the
    number of segments; and the additional decoder layers that come with the encoder's weights, if any."""

    mask_decoder: MaskDecoder
    prompt_encoder: PromptEncoder
    architecture: Architecture
    class_count: int
    own_layers: nn.Module | None = None


class Embeddings(Protocol):
    """The embeddings of a volume's slices for one framing, as the engine's `SliceEmbeddings`."""

    framing: Framing

    def ensure(self, indices: Sequence[int]) -> None:
        """Encode the slices that are not encoded yet."""

    def slices(self, indices: Sequence[int]) -> Tensor:
        """Embeddings (n, channels, h, w), float16, of the slices."""

    def plain(self, indices: Sequence[int], side: int) -> Tensor:
        """The framed slices themselves, (n, side, side) in 0..1."""


class Teacher(ABC):
    """Trains a head with progress, cancellation and a seed."""

    @abstractmethod
    def train(self, head: Any, exemplars: Sequence[Exemplar], training: Training, pairs: bool = False) -> None:
        """Train the head on views of the exemplars; pairs: also on pairs synthesised from them."""


class Task(Teacher):
    """A volume with painted slices to learn from, and the user's options for learning.

    steps, augmented_copies: None leaves the choice to the method; step_mm: slice spacing, in mm.
    """

    annotation: Annotation
    embeddings: Embeddings
    settings: Any
    architecture: Architecture
    device: torch.device
    warm_start: State | None
    steps: int | None
    augmented_copies: int | None
    usual_copies: int
    code_faithful: bool
    depth: int
    step_mm: float
    seed: int

    @abstractmethod
    def progress(self, stage: str, done: int, total: int) -> None:
        """Report progress. Raises CancelledError if the user asked to stop."""

    @abstractmethod
    def parts(self) -> Parts:
        """What heads are built from."""

    @abstractmethod
    def seeded(self) -> AbstractContextManager[None]:
        """Seed torch's global random generator within this block."""

    @abstractmethod
    def stage(self, name: str) -> AbstractContextManager[None]:
        """Add the duration of the block to a stage of the report."""

    @abstractmethod
    def exemplars(self, copies: int, stride: int, unchanged: Sequence[Exemplar] = ()) -> list[Exemplar]:
        """Every painted and empty slice, in order, and `copies` augmented copies of each; targets are 1/stride of the
        image wide. unchanged: earlier exemplars to reuse, of slices whose known labels have not changed."""

    @abstractmethod
    def whole_body(self) -> AbstractContextManager[Embeddings]:
        """Embeddings as for another volume, on which nothing is painted."""

    @abstractmethod
    def is_enough(self) -> bool:
        """Whether the user accepts the result, so that no further learning is needed."""

    def regions(self) -> list[RegionTask]:
        """Tasks for segments to be found in regions of their own, if a single region would be too coarse for all. The
        embeddings are then those of all regions, concatenated along the channels."""
        return []

    @abstractmethod
    def record(self, steps: int, loss: float | None) -> None:
        """Record the training steps and the loss for the report."""


@dataclass(frozen=True)
class RegionTask:
    """Some segments, 1 to C, of a task, and the task of finding them in a region of their own. needs: whether the
    region is used on a slice at all."""

    labels: tuple[int, ...]
    task: Task
    needs: Callable[[int], bool]


class Predictor(ABC):
    """What was learned from a task, ready to predict slices.

    passes: number of passes over a volume's slices; learned_more: whether `learn_more` learned something, which adds
    one pass; encoder_updates: the LoRA updates that its embeddings require of the encoder, None for the unchanged
    encoder; needs_region: whether a predictor learned on a region knows only that region, so that its result on another
    volume is rough.
    """

    passes: int = 1
    learned_more: bool = False
    needs_region: bool = True

    @property
    def encoder_updates(self) -> LoraFactors | None:
        """LoRA updates of the encoder; see the class."""
        return None

    @abstractmethod
    def predict(self, embeddings: Tensor, slices: Sequence[int], number: int = 0) -> Tensor:
        """Logits (B, C + 1, H, W) of background and C segments on the framed slices, H x W of any size, from their
        embeddings (B, channels, h, w), float16; `number` is the pass, counted from 0.

        On the CPU several threads call this at once for different batches, each using one torch thread. A batch's pass
        begins once the previous pass is done with that batch and its neighbours."""

    @abstractmethod
    def state(self) -> State:
        """All that `Method.restore` needs."""

    def learn_more(self, task: Task) -> bool:
        """Learn what takes longer; called after the slices were predicted. True if they are to be predicted once more,
        in pass number `passes`. Most predictors have nothing to do."""
        return False

    def learn_for_others(self, teacher: Teacher) -> bool:
        """Learn what volumes other than its own need besides, as part of the state; False if there is nothing to learn
        or it was learned already."""
        return False

    def adapt_to_new_volume(self) -> None:
        """Called once after `learn_for_others`, before slices of another volume are predicted. Most predictors have
        nothing to do."""
        return


@dataclass(frozen=True)
class NoSettings:
    """Settings of a method that has none."""


class Method(ABC):
    """One method.

    name: that of its registry entry. settings: a class whose fields all have defaults, stored in the model's file as
    JSON. Options that only some methods support: steps (unless `solved`), contact_sheet (if it `synthesises`),
    code_faithful (if it `has_published_code`). adapts_encoder: it may learn LoRA updates of the encoder, so that
    prediction needs embeddings of its own. any_segments: learning can continue from a model with other segments.
    transfers: another volume is first registered to the one that was learned on, and the method is used only if the two
    are not alike. corrects: once more slices are painted, it can predict some segments on some slices again and keep
    all other results. splits: it can search for segments in regions of their own.

    learning_cost, slice_cost: the cost of learning with default steps from three painted slices, and of predicting a
    slice, for encoders with fine levels, in passes of the bundled encoder that take as long (measured with one
    segment); fixed_cost: that of learning with other encoders, as multiplications that take as long, if it does not
    follow from the plan. learning_share, segment_share: what each further segment adds to these costs, as a share of
    the first; 0 if all are learned or predicted at once.
    """

    name = ""
    settings: ClassVar[type] = NoSettings
    has_published_code = False
    solved = False
    synthesises = False
    adapts_encoder = False
    any_segments = False
    transfers = False
    corrects = False
    splits = False
    fixed_cost: float | None = None
    learning_cost = 400.0
    slice_cost = 2.0
    learning_share = 0.0
    segment_share = 0.0

    def for_encoder(self, architecture: Architecture) -> Method:
        """The method to use with such an encoder: this one, unless the encoder comes with its own."""
        return self

    def plan(self, architecture: Architecture, faithful: bool, warm: bool, steps: int | None) -> Training:
        """The training schedule; by default no steps."""
        return Training(Schedule(0))

    @abstractmethod
    def fit(self, task: Task) -> Predictor:
        """Learn from the task."""

    def correct(self, predictor: Predictor, task: Task, changed: Mapping[int, frozenset[int]]) -> Predictor:
        """A predictor of the task from one learned before, if the method `corrects`; its results differ only in the
        segments 1 to C to search for again on each of the slices `changed`."""
        raise NotImplementedError

    @abstractmethod
    def restore(self, parts: Parts, settings: Any, state: State, device: torch.device) -> Predictor:
        """The predictor with this state, on the device. Raises BadInputError if the state does not fit."""
