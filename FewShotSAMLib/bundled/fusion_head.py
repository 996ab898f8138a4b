"""The few-shot method on the bundled encoder: the decoder that was trained on episodes, asked once per segment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from FewShotSAMLib.bundled.conditioning import ForeignGuide, Guide
from FewShotSAMLib.bundled.fusion import NEARBY, STRIDE, FusionDecoder
from FewShotSAMLib.methods.few_shot import BACKGROUND, NEVER
from FewShotSAMLib.methods.head import Head

NOTHING = 0.05
"""A slice where the first pass is nowhere this sure of a segment, nor beside it, is not asked about again."""
SECOND_PASS_SHARE = 0.5


class FusionHead(Head):
    """Softmax over background (logit 0) and the answers for every segment, in two passes over the volume.

    The second pass sees what the first found on the slices beside each slice. Needs a guide before anything else.
    """

    channels = None
    passes = 2
    logit_stride = STRIDE

    def __init__(self, decoder: FusionDecoder, class_count: int) -> None:
        super().__init__()
        # Convolutions are faster so, on CPUs and GPUs.
        self.decoder = decoder.to(memory_format=torch.channels_last)
        self.class_count = class_count
        self.guide: Guide | ForeignGuide | None = None
        self._found: dict[int, Tensor] = {}

    def follow(self, guide: Guide | ForeignGuide) -> None:
        """Answer about this guide's volume from now on."""
        self.guide = guide
        self._found = {}

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Logits (B, C + 1, S/2, S/2) of new slices in pass `number`."""
        guide = self._guide()
        indices = list(slices)
        queries, supports = guide.queries(embeddings, indices), guide.support(embeddings)
        if number == 0:
            logits = self._blank(queries[0].priors)
            for label in guide.shown.labels:
                rows = torch.tensor([guide.worth_asking(label, index) for index in indices], device=logits.device)
                if bool(rows.any()):
                    logits[rows, label] = self.decoder(queries[label - 1].select(rows), supports[label - 1])
            self._found |= {index: row.half().cpu() for index, row in zip(indices, logits, strict=True)}
            return logits
        logits = torch.stack([self._found[index] for index in indices]).to(embeddings)
        for label in guide.shown.labels:
            earlier = torch.stack([self._earlier(index, label) for index in indices]).to(embeddings)
            rows = earlier.amax((1, 2, 3)) > NOTHING
            if bool(rows.any()):
                asked = queries[label - 1].again(earlier).select(rows)
                logits[rows, label] = self.decoder(asked, supports[label - 1])
        return logits

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits of exemplars, each asked about as if it had not been painted."""
        guide = self._guide()
        return torch.cat(
            [
                self._left_out(guide, embedding.unsqueeze(0), guide.number_of(index), generator)
                for embedding, index in zip(embeddings, slices, strict=True)
            ]
        )

    def _left_out(
        self, guide: Guide | ForeignGuide, embedding: Tensor, number: int, generator: torch.Generator
    ) -> Tensor:
        queries, supports = guide.left_out(embedding, number)
        logits = self._blank(queries[0].priors)
        again = float(torch.rand((), generator=generator)) < SECOND_PASS_SHARE
        for label in guide.shown.labels:
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
        guide = self._guide()
        if index in guide.known:
            return guide.shown.masks[guide.known.index(index), label - 1].float().cpu()
        return self._found[index][label].float().sigmoid() if index in self._found else otherwise

    def _blank(self, like: Tensor) -> Tensor:
        logits = like.new_full((len(like), self.class_count + 1, *like.shape[-2:]), NEVER)
        logits[:, BACKGROUND] = 0.0
        return logits

    def _guide(self) -> Guide | ForeignGuide:
        if self.guide is None:
            raise RuntimeError("the head has no guide yet")
        return self.guide
