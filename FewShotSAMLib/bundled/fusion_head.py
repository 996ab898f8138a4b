"""The few-shot head on the bundled encoder: runs the decoder that was trained on episodes once per segment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from FewShotSAMLib.bundled.components import is_enabled
from FewShotSAMLib.bundled.conditioning import ForeignConditioning, VolumeConditioning
from FewShotSAMLib.bundled.fusion import NEARBY, STRIDE, FusionDecoder, Queries, Support
from FewShotSAMLib.bundled.memory import AttentionSums
from FewShotSAMLib.bundled.priors import Flows
from FewShotSAMLib.bundled.segmentwise import SegmentwiseConditioning
from FewShotSAMLib.bundled.volume_network import (
    Comparison,
    TrainingSet,
    VolumeNetworks,
    blended_logits,
    computing,
    extents,
    learn_volume,
)
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Exemplar, ExemplarFeatures, Schedule, State, Task, Teacher, Training
from FewShotSAMLib.methods.tokens import BACKGROUND, NEVER

NOTHING = 0.05
"""Where the first pass is nowhere this sure of a segment, on a slice or its neighbours, there is no second pass."""
SURE = 0.2
"""A slice with less doubt per area found keeps the first pass's answer: there the second pass gains 0.0001 Dice
(docs/benchmark.md) for up to a third of the time."""
SECOND_PASS_SHARE = 0.5
AT_ONCE = 16
"""Batch size of the volume's networks, in slices."""
MOST_SUMMED = 3
"""Most segments in one region for which the memory's sums are cached: 37 kB a slice for each, and for their total."""
NETWORK = "network."
"""Prefix of the names of the volume networks' weights in a state."""
DECODER, FOREIGN = "decoder.", "foreign."
"""Likewise for the decoder's own weights, and for those for other volumes."""
FOREIGN_TRAINING = Training(Schedule(steps=160, learning_rate=1e-3))

Conditioning = VolumeConditioning | SegmentwiseConditioning | ForeignConditioning


@dataclass(frozen=True)
class PassState:
    """Slices between the passes: each segment's queries and exemplars, and the memory's output for the segments that
    are predicted, by label."""

    queries: Sequence[Queries]
    supports: Sequence[Support]
    recalled: Mapping[int, Tensor]


class FusionHead(Head):
    """Softmax over background (logit 0) and every segment's logits, in two passes over the volume.

    The second pass sees the first one's answer on the neighbouring slices. A third combines the answer with that of the
    volume's own networks, once `learn_more` has trained them. Call `condition` before anything else.
    """

    channels = None
    passes = 2
    needs_region = False
    takes_views = False
    logit_stride = STRIDE

    def __init__(self, decoder: FusionDecoder, class_count: int) -> None:
        super().__init__()
        # Convolutions are faster with channels last, on CPUs and GPUs.
        self.decoder = decoder.to(memory_format=torch.channels_last)
        self.class_count = class_count
        self.conditioning: Conditioning | None = None
        self._found: dict[int, Tensor] = {}
        self._answered: dict[int, Tensor] = {}
        self._waiting: dict[tuple[int, ...], PassState] = {}
        self._sums: dict[tuple[int, ...], AttentionSums] = {}
        self._changed: Mapping[int, frozenset[int]] | None = None
        self._answered_before: frozenset[int] = frozenset()
        self._remembered: Callable[[], ExemplarFeatures] | None = None
        self._foreign: dict[str, Tensor] = {}
        self.network: VolumeNetworks | None = None
        self._likeness, self._weights = torch.ones(class_count), torch.ones(class_count)
        self._second: dict[int, Tensor] = {}
        self._training_set: TrainingSet | None = None

    def prepare(self, training_set: TrainingSet) -> None:
        """Set what the volume's networks are to learn from."""
        self._training_set = training_set

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """The exemplars of the training set; none before `prepare`."""
        return () if self._training_set is None else self._training_set.exemplars

    def learn_more(self, task: Task) -> bool:
        """Train the volume's networks, continuing from an earlier model's if there are any."""
        training_set = self._training_set
        if training_set is None:
            return False
        with task.seeded():
            network = copy.deepcopy(self.network) or VolumeNetworks(self.class_count, training_set.members)
        with task.stage("learn"):
            goes_on = self.network is not None
            loss = learn_volume(network.to(task.device), replace(training_set, goes_on=goes_on), task)
        if loss is None:
            return False
        task.record(training_set.schedule.steps, loss)
        self.network = network
        self.learned_more = True
        self._weigh(training_set)
        return True

    def _weigh(self, training_set: TrainingSet) -> None:
        """Set the networks' weights by comparing their answers with the decoder's on all slices predicted so far."""
        comparison, indices = Comparison(self.class_count), sorted(self._answered)
        held = extents(training_set.exemplars, self._answered)
        self._second = {}
        for start in range(0, len(indices), AT_ONCE):
            part = indices[start : start + AT_ONCE]
            answered = torch.stack([self._answered[index] for index in part])
            counted = torch.tensor([[index in extent for extent in held] for index in part])
            with torch.inference_mode():
                comparison.add(answered.float().softmax(1), self._found_by_networks(part, training_set), counted)
        self._likeness, self._weights = comparison.likeness(), comparison.weights()

    def _found_by_networks(self, indices: list[int], training_set: TrainingSet) -> Tensor:
        """The networks' probabilities (B, C + 1, h, w), cached: new painted slices do not change them."""
        assert self.network is not None
        missing = [index for index in indices if index not in self._second]
        if missing:
            device = next(self.network.parameters()).device
            found = self.network.probabilities(training_set.slices(missing).to(device))
            self._second |= zip(missing, found.half().cpu(), strict=True)
        return torch.stack([self._second[index] for index in indices]).float()

    def forget_network(self) -> None:
        """Answer from now on as if no network had been trained."""
        self.network, self.learned_more = None, False

    @property
    def flows(self) -> Flows | None:
        """The volume's slices and the flows computed so far; None where the exemplars are of another volume."""
        return None if isinstance(self.conditioning, ForeignConditioning | None) else self.conditioning.flows

    def condition(self, conditioning: Conditioning) -> None:
        """Predict this volume's slices from now on."""
        self.conditioning = conditioning
        self._found = {}
        self._answered = {}
        self._waiting = {}
        self._sums = {}

    def corrected(self, conditioning: Conditioning, changed: Mapping[int, frozenset[int]]) -> FusionHead:
        """Return a head with the same weights and answers that predicts only what `changed`, from other exemplars."""
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.conditioning = conditioning
        twin._found, twin._answered, twin._waiting = dict(self._found), dict(self._answered), {}
        twin._sums = dict(self._sums)
        twin._changed, twin._answered_before = changed, frozenset(self._answered)
        return twin

    def remember(self, exemplars: Callable[[], ExemplarFeatures]) -> None:
        """Set how to get the exemplars for other volumes, which only `state` needs."""
        self._remembered = exemplars

    def state(self) -> State:
        """Return the weights, the networks' in half precision, and the exemplars for other volumes. What was learned
        for other volumes replaces the decoder's own weights, which are in the encoder's file anyway."""
        tensors = {n: part.half() if n.startswith(NETWORK) else part for n, part in self.state_dict().items()}
        foreign = {FOREIGN + name: part for name, part in self._foreign.items()}
        if foreign:
            tensors = foreign | {name: part for name, part in tensors.items() if name.startswith(NETWORK)}
        return State(tensors, shown=self._remembered() if self._remembered else None, for_others=bool(foreign))

    def load(self, state: State) -> None:
        """Load weights, exemplars and, if they have as many segments, the networks. Raises BadInputError if damaged."""
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

        Within one volume, most of the answer rests on priors. Another volume has none, so the decoder has to learn what
        the structure looks like, once for all volumes. Raises BadInputError if the model lacks its exemplars.
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
        """Predict another volume's slices from now on."""
        self.decoder.load_state_dict(self._foreign)
        self.condition(ForeignConditioning(self._shown()))

    def _shown(self) -> ExemplarFeatures:
        if self._remembered is None:
            raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it again.")
        return self._remembered()

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Return logits (B, C + 1, S/2, S/2) of slices in pass `number`; in the last, the volume's networks join in."""
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

    def _asked(self, embeddings: Tensor, indices: list[int]) -> PassState:
        given = self._given()
        queries, supports = given.queries(embeddings, indices), given.support(embeddings)
        alike: dict[int, list[int]] = {}
        for label in given.shown.labels:
            if any(self._is_wanted(label, index) and self._may_be_near(label, index) for index in indices):
                alike.setdefault(id(supports[label - 1].features), []).append(label)
        recalled: dict[int, Tensor] = {}
        for labels in alike.values():
            with computing(embeddings.device):
                own = [supports[label - 1] for label in labels]
                found = self._recall(queries[labels[0] - 1], own, labels, indices)
            recalled |= zip(labels, found, strict=True)
        return PassState(queries, supports, recalled)

    def _recall(
        self, queries: Queries, supports: Sequence[Support], labels: list[int], indices: list[int]
    ) -> list[Tensor]:
        """Return the memory's output for segments. Its sums are cached, so that a correction only adds the new
        exemplars."""
        if len(labels) > MOST_SUMMED or not supports[0].names:
            found: list[Tensor] = self.decoder.layers.memory(queries, supports)
            return found
        kept = [self._sums.get((index, *labels)) for index in indices]
        found = self.decoder.layers.memory(queries, supports, kept)
        self._sums |= {(index, *labels): each for index, each in zip(indices, kept, strict=True) if each}
        return found

    def _first_pass(self, asked: PassState, indices: list[int]) -> Tensor:
        logits = self._blank(asked.queries[0].priors)
        for label in asked.recalled:
            may = [self._is_wanted(label, index) and self._given().may_contain(label, index) for index in indices]
            rows = torch.tensor(may, device=logits.device)
            if bool(rows.any()):
                logits[rows, label] = self._ask(asked, label, asked.queries[label - 1], rows)
        return logits

    def _second_pass(self, asked: PassState, indices: list[int]) -> Tensor:
        logits = torch.stack([self._found[index] for index in indices]).to(asked.queries[0].priors)
        for label in asked.recalled if is_enabled("second-pass") else ():
            earlier = torch.stack([self._earlier(index, label) for index in indices]).to(logits)
            rows = torch.tensor([self._is_wanted(label, index) for index in indices], device=logits.device)
            rows &= (earlier.amax((1, 2, 3)) > NOTHING) & (_doubt(earlier) > SURE)
            if bool(rows.any()):
                logits[rows, label] = self._ask(asked, label, asked.queries[label - 1].again(earlier), rows)
        return logits

    def _may_be_near(self, label: int, index: int) -> bool:
        """Whether a segment can be on a slice or on a neighbouring one, from which the second pass may extend it."""
        return any(self._given().may_contain(label, beside) for beside in (index - 1, index, index + 1))

    def _is_wanted(self, label: int, index: int) -> bool:
        """Whether a segment has to be predicted on a slice, as no earlier answer remains valid there."""
        changed = self._changed
        return changed is None or index not in self._answered_before or label in changed.get(index, ())

    def _keep(self, answers: dict[int, Tensor], indices: list[int], logits: Tensor) -> None:
        """Store a pass's logits; earlier ones replace, in place, those of segments that were not predicted."""
        for index, row in zip(indices, logits, strict=True):
            for label in range(1, self.class_count + 1):
                if not self._is_wanted(label, index):
                    row[label] = answers[index][label].to(row)
            answers[index] = row.half().cpu()

    def _ask(self, asked: PassState, label: int, queries: Queries, rows: Tensor) -> Tensor:
        with computing(rows.device):
            logits: Tensor = self.decoder(queries.select(rows), asked.supports[label - 1], asked.recalled[label][rows])
        return logits.float()

    def _joined(self, answered: Tensor, indices: list[int]) -> Tensor:
        assert self._training_set is not None
        second = self._found_by_networks(indices, self._training_set).to(answered)
        likeness, weights = (each.to(answered) for each in (self._likeness, self._weights))
        known = [each.slice_index for each in self._training_set.exemplars]
        beyond = torch.tensor([not min(known) < index < max(known) for index in indices], device=answered.device)
        return blended_logits(answered.softmax(dim=1), second, likeness, weights, beyond)

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return logits of exemplars, each predicted as if it had not been painted."""
        return torch.cat([self._left_out(embeddings, number, generator) for number in slices])

    def _left_out(self, like: Tensor, number: int, generator: torch.Generator) -> Tensor:
        given = self._given()
        assert isinstance(given, ForeignConditioning)  # the decoder is only ever trained for other volumes
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
        """(NEARBY, S/2, S/2): what the first pass or the user found on a slice and its neighbours."""
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
    """(B,): how much of what was found, (B, NEARBY, h, w) in 0..1, is uncertain, relative to its area."""
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
