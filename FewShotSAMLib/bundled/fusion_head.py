"""The few-shot method on the bundled encoder: the decoder that was trained on episodes, asked once per segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from FewShotSAMLib.bundled.conditioning import ForeignConditioning, VolumeConditioning
from FewShotSAMLib.bundled.fusion import NEARBY, STRIDE, FusionDecoder
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Exemplar, ExemplarFeatures, Schedule, State, Teacher, Training
from FewShotSAMLib.methods.tokens import BACKGROUND, NEVER

NOTHING = 0.05
"""A slice where the first pass is nowhere this sure of a segment, nor beside it, is not asked about again."""
SECOND_PASS_SHARE = 0.5
FOREIGN_TRAINING = Training(Schedule(steps=160, learning_rate=1e-3))

Conditioning = VolumeConditioning | ForeignConditioning


class FusionHead(Head):
    """Softmax over background (logit 0) and the answers for every segment, in two passes over the volume.

    The second pass sees what the first found on the slices beside each slice. It has to be conditioned before anything
    else.
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
        self._remembered: Callable[[], ExemplarFeatures] | None = None

    def condition(self, conditioning: Conditioning) -> None:
        """Answer about this volume from now on."""
        self.conditioning = conditioning
        self._found = {}

    def remember(self, exemplars: Callable[[], ExemplarFeatures]) -> None:
        """How to get what another volume has to be asked with, should the state be wanted."""
        self._remembered = exemplars

    def state(self) -> State:
        """Weights, and exemplars as another volume has them."""
        return State(self.state_dict(), shown=self._remembered() if self._remembered else None)

    def load(self, state: State) -> None:
        """Take weights and exemplars."""
        super().load(state)
        if (shown := state.shown) is not None:
            self.remember(lambda: shown)

    def adapt_to_new_volume(self, teacher: Teacher, memory: dict[str, Any]) -> None:
        """Learn to find the segments without shape priors.

        Between slices of one volume priors carry most of the answer; another volume has none, so that the decoder has
        to learn what the structure looks like. It learns that once for all volumes. Raises BadInputError where the
        model lacks its exemplars.
        """
        if self._remembered is None:
            raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it again.")
        shown = self._remembered()
        self.condition(ForeignConditioning(shown))
        if "weights" in memory:
            self.load_state_dict(memory["weights"])
        else:
            teacher.train(self, _exemplars_of(shown), FOREIGN_TRAINING)
            memory["weights"] = self.state_dict()
        self.condition(ForeignConditioning(shown))

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Logits (B, C + 1, S/2, S/2) of new slices in pass `number`."""
        given = self._given()
        indices = list(slices)
        queries, supports = given.queries(embeddings, indices), given.support(embeddings)
        if number == 0:
            logits = self._blank(queries[0].priors)
            for label in given.shown.labels:
                rows = torch.tensor([given.may_contain(label, index) for index in indices], device=logits.device)
                if bool(rows.any()):
                    logits[rows, label] = self.decoder(queries[label - 1].select(rows), supports[label - 1])
            self._found |= {index: row.half().cpu() for index, row in zip(indices, logits, strict=True)}
            return logits
        logits = torch.stack([self._found[index] for index in indices]).to(embeddings)
        for label in given.shown.labels:
            earlier = torch.stack([self._earlier(index, label) for index in indices]).to(embeddings)
            rows = earlier.amax((1, 2, 3)) > NOTHING
            if bool(rows.any()):
                asked = queries[label - 1].again(earlier).select(rows)
                logits[rows, label] = self.decoder(asked, supports[label - 1])
        return logits

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits of exemplars, each asked about as if it had not been painted."""
        given = self._given()
        return torch.cat(
            [
                self._left_out(given, embedding.unsqueeze(0), given.number_of(index), generator)
                for embedding, index in zip(embeddings, slices, strict=True)
            ]
        )

    def _left_out(self, given: Conditioning, embedding: Tensor, number: int, generator: torch.Generator) -> Tensor:
        queries, supports = given.left_out(embedding, number)
        logits = self._blank(queries[0].priors)
        again = float(torch.rand((), generator=generator)) < SECOND_PASS_SHARE
        for label in given.shown.labels:
            query, support = queries[label - 1], supports[label - 1]
            if again:
                with torch.no_grad():
                    first = self.decoder(query, support).sigmoid()
                query = query.again(first.unsqueeze(1).expand(-1, NEARBY, -1, -1))
            logits[:, label] = self.decoder(query, support)
        return logits

    def _earlier(self, index: int, label: int) -> Tensor:
        """(NEARBY, S/2, S/2): what the first pass or the user says of a slice and those beside it."""
        own = self._found[index][label].float().sigmoid()
        return torch.stack([self._said(index - 1, label, own), own, self._said(index + 1, label, own)])

    def _said(self, index: int, label: int, otherwise: Tensor) -> Tensor:
        given = self._given()
        if index in given.known:
            return given.shown.masks[given.known.index(index), label - 1].float().cpu()
        return self._found[index][label].float().sigmoid() if index in self._found else otherwise

    def _blank(self, like: Tensor) -> Tensor:
        logits = like.new_full((len(like), self.class_count + 1, *like.shape[-2:]), NEVER)
        logits[:, BACKGROUND] = 0.0
        return logits

    def _given(self) -> Conditioning:
        if self.conditioning is None:
            raise RuntimeError("the head is not conditioned yet")
        return self.conditioning


def _exemplars_of(shown: ExemplarFeatures) -> list[Exemplar]:
    masks = shown.masks.float()
    targets = torch.cat([(1 - masks.sum(1, keepdim=True)).clamp_min(0), masks], dim=1)
    weight, cells = torch.ones(masks.shape[-2:]), torch.empty(0)
    pairs = zip(shown.features, targets, strict=True)
    return [Exemplar(number, 0, features, target, weight, cells) for number, (features, target) in enumerate(pairs)]
