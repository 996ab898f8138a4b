"""What a method is to the engine: `fit` makes a predictor of a task, `restore` makes it again of a model's file."""

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
    """One view of a painted or empty slice: copy 0 is the slice itself, others are augmented copies.

    embedding (channels, h, w) float16; target (C + 1, H, W) and weight (H, W) as in Framing.target; cells
    (C + 1, h, w), the area of each class in each cell of the embedding; unknown: segments 1..C that may be on what is
    background in the target. Where there are any, no cell shows background.
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
    """n exemplars: features (n, channels, h, w) and the share (n, C, H, W) of each pixel that each segment has. Enough
    to ask about another volume. known (n, C) bool: which segments' shares are known; None where all are."""

    features: Tensor
    masks: Tensor
    known: Tensor | None = None

    def numbers(self, label: int) -> list[int]:
        """The exemplars, counted from 0, on which segment `label` is known."""
        return list(range(len(self.masks))) if self.known is None else self.known[:, label - 1].nonzero()[:, 0].tolist()

    @property
    def labels(self) -> list[int]:
        """Segments 1..C that are shown at all."""
        return [label for label in range(1, self.masks.shape[1] + 1) if bool((self.masks[:, label - 1] > 0).any())]


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay; the papers state no schedule for a few slices, so the numbers are
    ours."""

    steps: int
    batch: int = 2
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    warm_up: int = 10
    max_gradient: float = 1.0

    def factor(self, step: int) -> float:
        """Learning rate at `step` as a share of the highest."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return rising * 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps)))


@dataclass(frozen=True)
class Training:
    """on_cache: steps on embeddings of the encoder as it is, if any; adapting: after it, those through an encoder that
    changes, if any."""

    on_cache: Schedule | None
    adapting: Schedule | None = None

    @property
    def steps(self) -> int:
        """All of them."""
        return sum(schedule.steps for schedule in (self.on_cache, self.adapting) if schedule is not None)


@dataclass(frozen=True)
class State:
    """What a model's file holds of a predictor. tokens: few-shot tokens; shown: exemplars, for other volumes;
    for_others: what these need besides is among the tensors."""

    tensors: dict[str, Tensor]
    tokens: tuple[Token, ...] = ()
    shown: ExemplarFeatures | None = None
    for_others: bool = False


@dataclass(frozen=True)
class Parts:
    """What a head is made of: fresh copies of SAM's decoder and prompt encoder, the encoder's numbers, the segments;
    and the decoder layers that the encoder's weights have besides, if any."""

    mask_decoder: MaskDecoder
    prompt_encoder: PromptEncoder
    architecture: Architecture
    class_count: int
    own_layers: nn.Module | None = None


class Embeddings(Protocol):
    """The embeddings of a volume's slices as one framing shows them; the engine's `SliceEmbeddings`."""

    framing: Framing

    def ensure(self, indices: Sequence[int]) -> None:
        """Encode those of the slices that are not encoded yet."""

    def slices(self, indices: Sequence[int]) -> Tensor:
        """(n, channels, h, w), float16."""

    def plain(self, indices: Sequence[int], side: int) -> Tensor:
        """The framed slices themselves, (n, side, side) in 0..1."""


class Teacher(ABC):
    """Trains a head with progress, cancellation and a seed."""

    @abstractmethod
    def train(self, head: Any, exemplars: Sequence[Exemplar], training: Training, pairs: bool = False) -> None:
        """Train the head on views of the exemplars; pairs: and on pairs that are synthesised of them."""


class Task(Teacher):
    """A volume with painted slices to learn from, and how the user wants it learned.

    steps, augmented_copies: None leaves the choice to the method; step_mm: distance of two slices.
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
        """Report, and raise CancelledError when the user asked to stop."""

    @abstractmethod
    def parts(self) -> Parts:
        """What heads are made of."""

    @abstractmethod
    def seeded(self) -> AbstractContextManager[None]:
        """Random numbers of torch's global generator follow from the seed within this block."""

    @abstractmethod
    def stage(self, name: str) -> AbstractContextManager[None]:
        """Count the time of the block for a stage of the report."""

    @abstractmethod
    def exemplars(self, copies: int, stride: int, unchanged: Sequence[Exemplar] = ()) -> list[Exemplar]:
        """Every painted and empty slice, in their order, and `copies` augmented copies of each; targets are 1/stride of
        the image wide. unchanged: what this gave before of slices on which the same is known, to be used again."""

    @abstractmethod
    def whole_body(self) -> AbstractContextManager[Embeddings]:
        """Embeddings as another volume would have them, where nothing is painted."""

    @abstractmethod
    def is_enough(self) -> bool:
        """Whether the user takes the answer as it is, so that nothing more need be learned."""

    def regions(self) -> list[RegionTask]:
        """What is to be looked for in regions of their own, where one does not show all finely enough. The embeddings
        are those of all these then, one behind the other in the channels."""
        return []

    @abstractmethod
    def record(self, steps: int, loss: float | None) -> None:
        """Note for the report what was trained."""


@dataclass(frozen=True)
class RegionTask:
    """Segments 1 to C of a task, and the task of finding them in a region of their own. needs: whether it is looked at
    on a slice at all."""

    labels: tuple[int, ...]
    task: Task
    needs: Callable[[int], bool]


class Predictor(ABC):
    """What was learned of a task, ready to predict slices.

    passes: how often it goes over the slices of a volume; learned_more: `learn_more` did, so that there is one pass
    besides; encoder_updates: LoRA that the encoder of its embeddings has to have, None for the encoder as it is;
    needs_region: whether it only knows the region it was learned on, if it was one, so that on another volume the
    result is rough.
    """

    passes: int = 1
    learned_more: bool = False
    needs_region: bool = True

    @property
    def encoder_updates(self) -> LoraFactors | None:
        """See above."""
        return None

    @abstractmethod
    def predict(self, embeddings: Tensor, slices: Sequence[int], number: int = 0) -> Tensor:
        """Logits (B, C + 1, H, W) of background and C segments on the framed slices, H x W of any size, from their
        embeddings (B, channels, h, w), float16; `number` counts passes from 0.

        On the CPU batches of a pass are asked about by several threads at once, each with one of torch's; a pass of a
        batch begins once the pass before is done with it and the batches beside it."""

    @abstractmethod
    def state(self) -> State:
        """All that `Method.restore` needs."""

    def learn_more(self, task: Task) -> bool:
        """Called once slices were predicted: learn what takes longer. True where they are to be predicted once more, in
        pass number `passes`; most have nothing to do."""
        return False

    def learn_for_others(self, teacher: Teacher) -> bool:
        """Learn what volumes other than the own need besides, to be part of the state; False where there is nothing to
        learn or it is known."""
        return False

    def adapt_to_new_volume(self) -> None:
        """Called once after `learn_for_others`, before slices of another volume are predicted; most have nothing to
        do."""
        return


@dataclass(frozen=True)
class NoSettings:
    """Of a method that has none."""


class Method(ABC):
    """One method.

    name: its registry entry's. settings: a class, all of it optional, stored in the model's file as JSON. Options that
    only some know: steps (not those that are `solved`), contact_sheet (those that `synthesise`), code_faithful (those
    that `has_published_code`). adapts_encoder: it may learn LoRA in the encoder, so that what it predicts on needs
    embeddings of its own. any_segments: a model can be gone on from with other segments.
    transfers: another volume is first registered to the one that was learned on, and the method only asked where the
    two are not alike.
    corrects: it can look for some segments on some slices again, once more is known, and stand by all other answers.
    splits: it can look for segments in regions of their own.

    learning_cost, slice_cost: of learning with default steps from three painted slices, and of a slice, where the
    encoder has fine levels, in passes of the bundled encoder that take as long (measured with one segment); fixed_cost:
    of learning with other encoders, as multiplications that take as long, where it does not follow from the plan.
    learning_share, segment_share: what each further segment adds to them, as a share of the first; 0 where all are
    learned or found at once.
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
        """The method as it is with such an encoder: itself, unless the encoder brings its own."""
        return self

    def plan(self, architecture: Architecture, faithful: bool, warm: bool, steps: int | None) -> Training:
        """The training; nothing is trained unless a method says so."""
        return Training(Schedule(0))

    @abstractmethod
    def fit(self, task: Task) -> Predictor:
        """Learn."""

    def correct(self, predictor: Predictor, task: Task, changed: Mapping[int, frozenset[int]]) -> Predictor:
        """A predictor of the task by what was learned before, where `corrects`; it answers as before but for the
        segments 1 to C to look for again on each of the slices `changed`."""
        raise NotImplementedError

    @abstractmethod
    def restore(self, parts: Parts, settings: Any, state: State, device: torch.device) -> Predictor:
        """The predictor that had this state, on the device. Raises BadInputError where the state does not fit."""
