"""The few-shot method on the bundled encoder: the decoder that was trained on episodes, asked once per segment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from FewShotSAMLib.bundled.conditioning import ForeignConditioning, VolumeConditioning
from FewShotSAMLib.bundled.fusion import NEARBY, STRIDE, FusionDecoder, Queries, Support
from FewShotSAMLib.bundled.memory import Sums
from FewShotSAMLib.bundled.priors import Flows
from FewShotSAMLib.bundled.segmentwise import SegmentwiseConditioning
from FewShotSAMLib.bundled.voices import is_heard
from FewShotSAMLib.bundled.volume_network import (
    Comparison,
    Lesson,
    VolumeNetworks,
    computing,
    extents,
    joined,
    learn_volume,
)
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Exemplar, ExemplarFeatures, Schedule, State, Task, Teacher, Training
from FewShotSAMLib.methods.tokens import BACKGROUND, NEVER

NOTHING = 0.05
"""A slice where the first pass is nowhere this sure of a segment, nor beside it, is not asked about again."""
SURE = 0.2
"""A slice where there is less doubt for the area found keeps the first pass's answer: there the second is worth 0.0001
Dice (docs/benchmark.md), for up to a third of the time."""
SECOND_PASS_SHARE = 0.5
AT_ONCE = 16
"""Slices that the volume's networks are asked about at once."""
MOST_SUMMED = 3
"""Segments in one region of which the memory's sums are kept: 37 kB a slice for each of them, and as much again."""
NETWORK = "network."
"""How the names of the volume network's weights begin in a state."""
DECODER, FOREIGN = "decoder.", "foreign."
"""Likewise of the decoder's own weights, and of those for other volumes."""
FOREIGN_TRAINING = Training(Schedule(steps=160, learning_rate=1e-3))

Conditioning = VolumeConditioning | SegmentwiseConditioning | ForeignConditioning


@dataclass(frozen=True)
class Asked:
    """Slices between the passes: each segment's question and exemplars, and what the memory recalls of those that are
    looked for, by label."""

    queries: Sequence[Queries]
    supports: Sequence[Support]
    recalled: Mapping[int, Tensor]


class FusionHead(Head):
    """Softmax over background (logit 0) and the answers for every segment, in two passes over the volume.

    The second pass sees what the first found on the slices beside each slice. A third joins the answer with that of the
    volume's own network, once `learn_more` has trained it. It has to be conditioned before anything else.
    """

    channels = None
    passes = 2
    needs_region = False
    takes_views = False
    logit_stride = STRIDE

    def __init__(self, decoder: FusionDecoder, class_count: int) -> None:
        super().__init__()
        # Convolutions are faster so, on CPUs and GPUs.
        self.decoder = decoder.to(memory_format=torch.channels_last)
        self.class_count = class_count
        self.conditioning: Conditioning | None = None
        self._found: dict[int, Tensor] = {}
        self._answered: dict[int, Tensor] = {}
        self._waiting: dict[tuple[int, ...], Asked] = {}
        self._sums: dict[tuple[int, ...], Sums] = {}
        self._changed: Mapping[int, frozenset[int]] | None = None
        self._stands: frozenset[int] = frozenset()
        self._remembered: Callable[[], ExemplarFeatures] | None = None
        self._foreign: dict[str, Tensor] = {}
        self.network: VolumeNetworks | None = None
        self._likeness, self._weights = torch.ones(class_count), torch.ones(class_count)
        self._second: dict[int, Tensor] = {}
        self._lesson: Lesson | None = None

    def prepare(self, lesson: Lesson) -> None:
        """What the volume's network is to learn from."""
        self._lesson = lesson

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """Those that the lesson has."""
        return () if self._lesson is None else self._lesson.exemplars

    def learn_more(self, task: Task) -> bool:
        """Train the volume's network, from where an earlier model left it."""
        lesson = self._lesson
        if lesson is None:
            return False
        with task.seeded():
            network = copy.deepcopy(self.network) or VolumeNetworks(self.class_count, lesson.members)
        with task.stage("learn"):
            goes_on = self.network is not None
            loss = learn_volume(network.to(task.device), replace(lesson, goes_on=goes_on), task)
        if loss is None:
            return False
        task.record(lesson.schedule.steps, loss)
        self.network = network
        self.learned_more = True
        self._weigh(lesson)
        return True

    def _weigh(self, lesson: Lesson) -> None:
        """Ask the networks about all slices that were answered, and compare their answers: that tells their weights."""
        comparison, indices = Comparison(self.class_count), sorted(self._answered)
        held = extents(lesson.exemplars, self._answered)
        self._second = {}
        for start in range(0, len(indices), AT_ONCE):
            part = indices[start : start + AT_ONCE]
            answered = torch.stack([self._answered[index] for index in part])
            counted = torch.tensor([[index in extent for extent in held] for index in part])
            with torch.inference_mode():
                comparison.add(answered.float().softmax(1), self._found_by_networks(part, lesson), counted)
        self._likeness, self._weights = comparison.likeness(), comparison.weights()

    def _found_by_networks(self, indices: list[int], lesson: Lesson) -> Tensor:
        """(B, C + 1, h, w): their probabilities, which are kept: what is painted does not change them."""
        assert self.network is not None
        missing = [index for index in indices if index not in self._second]
        if missing:
            device = next(self.network.parameters()).device
            found = self.network.probabilities(lesson.slices(missing).to(device))
            self._second |= zip(missing, found.half().cpu(), strict=True)
        return torch.stack([self._second[index] for index in indices]).float()

    def forget_network(self) -> None:
        """Answer as if none had been trained."""
        self.network, self.learned_more = None, False

    @property
    def flows(self) -> Flows | None:
        """How the volume's slices move, as far as that was asked; None where the exemplars are of another volume."""
        return None if isinstance(self.conditioning, ForeignConditioning | None) else self.conditioning.flows

    def condition(self, conditioning: Conditioning) -> None:
        """Answer about this volume from now on."""
        self.conditioning = conditioning
        self._found = {}
        self._answered = {}
        self._waiting = {}
        self._sums = {}

    def corrected(self, conditioning: Conditioning, changed: Mapping[int, frozenset[int]]) -> FusionHead:
        """Another head with the same weights and answers that looks only for what `changed`, by other exemplars."""
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.conditioning = conditioning
        twin._found, twin._answered, twin._waiting = dict(self._found), dict(self._answered), {}
        twin._sums = dict(self._sums)
        twin._changed, twin._stands = changed, frozenset(self._answered)
        return twin

    def remember(self, exemplars: Callable[[], ExemplarFeatures]) -> None:
        """How to get what another volume has to be asked with, should the state be wanted."""
        self._remembered = exemplars

    def state(self) -> State:
        """Weights, those of the networks in half precision, and exemplars as another volume has them. What was learned
        for other volumes stands in the place of the decoder's own weights, which are those of the encoder's file."""
        tensors = {n: part.half() if n.startswith(NETWORK) else part for n, part in self.state_dict().items()}
        foreign = {FOREIGN + name: part for name, part in self._foreign.items()}
        if foreign:
            tensors = foreign | {name: part for name, part in tensors.items() if name.startswith(NETWORK)}
        return State(tensors, shown=self._remembered() if self._remembered else None, for_others=bool(foreign))

    def load(self, state: State) -> None:
        """Take weights and exemplars; and the network, where it knows as many segments."""
        own = {name.removeprefix(NETWORK): part for name, part in state.tensors.items() if name.startswith(NETWORK)}
        if len(own.get("members.0.answer.bias", ())) == self.class_count + 1:
            self.network = VolumeNetworks(self.class_count, sum(name.endswith(".answer.bias") for name in own))
        self._foreign = {n.removeprefix(FOREIGN): part for n, part in state.tensors.items() if n.startswith(FOREIGN)}
        if self._foreign and not _fits(self._foreign, self.decoder.state_dict()):
            raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it again.")
        left_out = (FOREIGN,) if self.network else (FOREIGN, NETWORK)
        given = {name: part for name, part in state.tensors.items() if not name.startswith(left_out)}
        decoder = {name: part for name, part in self.state_dict().items() if name.startswith(DECODER)}
        super().load(replace(state, tensors=decoder | given))
        if (shown := state.shown) is not None:
            self.remember(lambda: shown)

    def learn_for_others(self, teacher: Teacher) -> bool:
        """Learn to find the segments without shape priors.

        Between slices of one volume priors carry most of the answer; another volume has none, so that the decoder has
        to learn what the structure looks like. It learns that once for all volumes. Raises BadInputError where the
        model lacks its exemplars.
        """
        if self._foreign:
            return False
        shown, own = self._shown(), copy.deepcopy(self.decoder.state_dict())
        self.condition(ForeignConditioning(shown))
        teacher.train(self, _exemplars_of(shown), FOREIGN_TRAINING)
        self._foreign = copy.deepcopy(self.decoder.state_dict())
        self.decoder.load_state_dict(own)
        return True

    def adapt_to_new_volume(self) -> None:
        """Answer about another volume from now on."""
        self.decoder.load_state_dict(self._foreign)
        self.condition(ForeignConditioning(self._shown()))

    def _shown(self) -> ExemplarFeatures:
        if self._remembered is None:
            raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it again.")
        return self._remembered()

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Logits (B, C + 1, S/2, S/2) of new slices in pass `number`; in the last the volume's network joins in."""
        indices = list(slices)
        if number == self.passes:
            answered = torch.stack([self._answered[index] for index in indices]).to(embeddings)
            return self._joined(answered, indices) if self.learned_more else answered
        if number == 0:
            asked = self._waiting[tuple(indices)] = self._asked(embeddings, indices)
            logits = self._first_pass(asked, indices)
            self._keep(self._found, indices, logits)
            return logits
        logits = self._second_pass(self._waiting.pop(tuple(indices)), indices)
        self._keep(self._answered, indices, logits)
        return logits

    def _asked(self, embeddings: Tensor, indices: list[int]) -> Asked:
        given = self._given()
        queries, supports = given.queries(embeddings, indices), given.support(embeddings)
        alike: dict[int, list[int]] = {}
        for label in given.shown.labels:
            if any(self._is_sought(label, index) and self._may_be_near(label, index) for index in indices):
                alike.setdefault(id(supports[label - 1].features), []).append(label)
        recalled: dict[int, Tensor] = {}
        for labels in alike.values():
            with computing(embeddings.device):
                own = [supports[label - 1] for label in labels]
                found = self._recall(queries[labels[0] - 1], own, labels, indices)
            recalled |= zip(labels, found, strict=True)
        return Asked(queries, supports, recalled)

    def _recall(
        self, queries: Queries, supports: Sequence[Support], labels: list[int], indices: list[int]
    ) -> list[Tensor]:
        """What the memory finds of segments. Its sums are kept: to them a correction adds what is new among the
        exemplars."""
        if len(labels) > MOST_SUMMED or not supports[0].names:
            found: list[Tensor] = self.decoder.layers.memory(queries, supports)
            return found
        kept = [self._sums.get((index, *labels)) for index in indices]
        found = self.decoder.layers.memory(queries, supports, kept)
        self._sums |= {(index, *labels): each for index, each in zip(indices, kept, strict=True) if each}
        return found

    def _first_pass(self, asked: Asked, indices: list[int]) -> Tensor:
        logits = self._blank(asked.queries[0].priors)
        for label in asked.recalled:
            may = [self._is_sought(label, index) and self._given().may_contain(label, index) for index in indices]
            rows = torch.tensor(may, device=logits.device)
            if bool(rows.any()):
                logits[rows, label] = self._ask(asked, label, asked.queries[label - 1], rows)
        return logits

    def _second_pass(self, asked: Asked, indices: list[int]) -> Tensor:
        logits = torch.stack([self._found[index] for index in indices]).to(asked.queries[0].priors)
        for label in asked.recalled if is_heard("second-pass") else ():
            earlier = torch.stack([self._earlier(index, label) for index in indices]).to(logits)
            rows = torch.tensor([self._is_sought(label, index) for index in indices], device=logits.device)
            rows &= (earlier.amax((1, 2, 3)) > NOTHING) & (_doubt(earlier) > SURE)
            if bool(rows.any()):
                logits[rows, label] = self._ask(asked, label, asked.queries[label - 1].again(earlier), rows)
        return logits

    def _may_be_near(self, label: int, index: int) -> bool:
        """Whether a segment can be on a slice or beside it, from where the second pass may bring it over."""
        return any(self._given().may_contain(label, beside) for beside in (index - 1, index, index + 1))

    def _is_sought(self, label: int, index: int) -> bool:
        """Whether a segment's answer on a slice is not one that was given before and stands."""
        changed = self._changed
        return changed is None or index not in self._stands or label in changed.get(index, ())

    def _keep(self, answers: dict[int, Tensor], indices: list[int], logits: Tensor) -> None:
        """Keep a pass's logits of slices, in place; of segments that were not looked for, those of before."""
        for index, row in zip(indices, logits, strict=True):
            for label in range(1, self.class_count + 1):
                if not self._is_sought(label, index):
                    row[label] = answers[index][label].to(row)
            answers[index] = row.half().cpu()

    def _ask(self, asked: Asked, label: int, queries: Queries, rows: Tensor) -> Tensor:
        with computing(rows.device):
            logits: Tensor = self.decoder(queries.select(rows), asked.supports[label - 1], asked.recalled[label][rows])
        return logits.float()

    def _joined(self, answered: Tensor, indices: list[int]) -> Tensor:
        assert self._lesson is not None
        second = self._found_by_networks(indices, self._lesson).to(answered)
        likeness, weights = (each.to(answered) for each in (self._likeness, self._weights))
        known = [each.slice_index for each in self._lesson.exemplars]
        beyond = torch.tensor([not min(known) < index < max(known) for index in indices], device=answered.device)
        return joined(answered.softmax(dim=1), second, likeness, weights, beyond)

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits of exemplars, each asked about as if it had not been painted."""
        return torch.cat([self._left_out(embeddings, number, generator) for number in slices])

    def _left_out(self, like: Tensor, number: int, generator: torch.Generator) -> Tensor:
        given = self._given()
        assert isinstance(given, ForeignConditioning)  # within a volume nothing of the decoder is trained
        queries, supports = given.left_out(like, number)
        logits = self._blank(queries[0].priors)
        again = float(torch.rand((), generator=generator)) < SECOND_PASS_SHARE
        for label in [each for each in given.shown.labels if given.is_known(each, number)]:
            query, support = queries[label - 1], supports[label - 1]
            (recalled,) = self.decoder.layers.memory(query, [support])  # the same in both passes
            if again:
                with torch.no_grad():
                    first = self.decoder(query, support, recalled).sigmoid()
                query = query.again(first.unsqueeze(1).expand(-1, NEARBY, -1, -1))
            logits[:, label] = self.decoder(query, support, recalled)
        return logits

    def _earlier(self, index: int, label: int) -> Tensor:
        """(NEARBY, S/2, S/2): what the first pass or the user says of a slice and those beside it."""
        own = self._found[index][label].float().sigmoid()
        return torch.stack([self._said(index - 1, label, own), own, self._said(index + 1, label, own)])

    def _said(self, index: int, label: int, otherwise: Tensor) -> Tensor:
        if (known := self._given().said(index, label)) is not None:
            return known.float().cpu()
        return self._found[index][label].float().sigmoid() if index in self._found else otherwise

    def _blank(self, like: Tensor) -> Tensor:
        logits = like.new_full((len(like), self.class_count + 1, *like.shape[-2:]), NEVER)
        logits[:, BACKGROUND] = 0.0
        return logits

    def _given(self) -> Conditioning:
        if self.conditioning is None:
            raise RuntimeError("the head is not conditioned yet")
        return self.conditioning


def _doubt(earlier: Tensor) -> Tensor:
    """(B,): how much of what was found on slices, (B, NEARBY, h, w) in 0..1, is neither there nor not."""
    return (4 * earlier * (1 - earlier)).sum((1, 2, 3)) / earlier.sum((1, 2, 3)).clamp_min(1)


def _fits(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return {name: part.shape for name, part in given.items()} == {name: part.shape for name, part in own.items()}


def _exemplars_of(shown: ExemplarFeatures) -> list[Exemplar]:
    masks = shown.masks.float()
    targets = torch.cat([(1 - masks.sum(1, keepdim=True)).clamp_min(0), masks], dim=1)
    weight, cells = torch.ones(masks.shape[-2:]), torch.empty(0)
    count = masks.shape[1]
    unknown = [tuple(c for c in range(1, count + 1) if n not in shown.numbers(c)) for n in range(len(masks))]
    parts = zip(shown.features, targets, unknown, strict=True)
    return [Exemplar(n, 0, features, target, weight, cells, rest) for n, (features, target, rest) in enumerate(parts)]
