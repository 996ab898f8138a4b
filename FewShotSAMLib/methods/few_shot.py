"""The few-shot decoder: exemplar tokens prompt SAM's mask decoder for the same structures on other slices."""

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from FewShotSAMLib.methods.augmentation import random_below
from FewShotSAMLib.methods.decoder import Prompts, TokenDecoder
from FewShotSAMLib.methods.head import Head, HeadMethod
from FewShotSAMLib.methods.interface import Exemplar, Method, Parts, State
from FewShotSAMLib.methods.tokens import BACKGROUND, NEVER, FewShotSettings, Token, pool_tokens
from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS, Architecture


class FewShotHead(Head):
    """SAM's mask decoder, run once per segment with that segment's tokens; softmax over background and segments.

    Our reading: the background's logit is the constant 0, so that for a single segment the softmax is SAM's own sigmoid
    with its threshold at 0, and with several segments each pixel gets one label. The support is redrawn at each
    training step, never from the query slice unless no other shows the segment; prediction uses all exemplars. A
    segment without tokens is never predicted.
    """

    def __init__(self, decoder: TokenDecoder, class_count: int, settings: FewShotSettings) -> None:
        super().__init__()
        self.decoder = decoder
        self.class_count = class_count
        self.settings = settings
        self.support: list[Token] = []

    def learn_from(self, exemplars: Sequence[Exemplar]) -> None:
        self.support = tokens_of(exemplars, self.settings)

    def state(self) -> State:
        """Weights, and the tokens of the slices themselves."""
        return State(self.state_dict(), tuple(token for token in self.support if token.copy == 0))

    def load(self, state: State) -> None:
        super().load(state)
        self.support = list(state.tokens)

    def logits(self, embeddings: Tensor, slices: Sequence[int] = (), number: int = 0) -> Tensor:
        """Logits with every clean exemplar as support."""
        blocks = {}
        for label in self._labels():
            clean = [token.vector for token in self.support if token.label == label and token.copy == 0]
            blocks[label] = torch.stack(clean).to(embeddings).expand(len(embeddings), -1, -1)
        return self._decode(embeddings, blocks)

    def training_logits(self, embeddings: Tensor, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Logits with a random support for each query, without the query's own slice."""
        blocks = {label: self._draw(label, slices, generator).to(embeddings) for label in self._labels()}
        return self._decode(embeddings, blocks)

    def _decode(self, embeddings: Tensor, blocks: dict[int, Tensor]) -> Tensor:
        """blocks: tokens (B, n, 256) of each label."""
        batch, _, height, width = embeddings.shape
        logits = embeddings.new_full((batch, self.class_count + 1, 4 * height, 4 * width), NEVER)
        logits[:, BACKGROUND] = 0.0
        shown = [label for label in blocks if label != BACKGROUND]
        logits[:, shown] = self.decoder(embeddings, [self._prompts(label, blocks) for label in shown])
        return logits

    def _prompts(self, label: int, blocks: dict[int, Tensor]) -> Prompts:
        tokens = torch.cat([blocks[label], *self._negatives(label, blocks)], dim=1)
        return Prompts(tokens, torch.arange(tokens.shape[1], device=tokens.device) < blocks[label].shape[1])

    def _negatives(self, label: int, blocks: dict[int, Tensor]) -> list[Tensor]:
        """Background tokens, and one token (mean over the support) for each other segment."""
        negatives = [blocks[BACKGROUND]] if BACKGROUND in blocks else []
        if self.settings.other_segments:
            others = [other for other in blocks if other not in (BACKGROUND, label)]
            negatives += [blocks[other].mean(dim=1, keepdim=True) for other in others]
        return negatives

    def _labels(self) -> list[int]:
        """The labels that have tokens, background first."""
        return sorted({token.label for token in self.support})

    def _draw(self, label: int, slices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Tokens (B, n, 256) of a random number of the label's exemplars, each from the slice or one of its copies."""
        views: dict[int, dict[int, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        for token in self.support:
            if token.label == label:
                views[token.slice_index][token.copy].append(token.vector)
        choices = [[index for index in views if index != query] or list(views) for query in slices]
        count = 1 + random_below(max(len(choice) for choice in choices), generator)
        drawn = []
        for choice in choices:
            order = torch.randperm(len(choice), generator=generator).tolist()
            picked = [choice[order[i % len(order)]] for i in range(count)]
            drawn.append(torch.cat([self._view(label, views[index], generator) for index in picked]))
        return torch.stack(drawn)

    def _view(self, label: int, copies: dict[int, list[Tensor]], generator: torch.Generator) -> Tensor:
        """Tokens of one exemplar, always the same number: those of a region with few cells are repeated."""
        vectors = copies[list(copies)[random_below(len(copies), generator)]]
        return torch.stack([vectors[i % len(vectors)] for i in range(self.settings.tokens_of(label))])


def tokens_of(exemplars: Sequence[Exemplar], settings: FewShotSettings) -> list[Token]:
    """The few-shot tokens of every class on every exemplar."""
    tokens = []
    for exemplar in exemplars:
        embedding = exemplar.embedding[:EMBEDDING_CHANNELS].float()
        for label, area in enumerate(exemplar.cells):
            wanted = settings.tokens_of(label)
            vectors = pool_tokens(embedding, area, wanted) if wanted else embedding.new_zeros(0, len(embedding))
            tokens += [Token(vector, label, exemplar.slice_index, exemplar.copy) for vector in vectors]
    return tokens


class FewShot(HeadMethod):
    """The few-shot decoder, unless the encoder comes with its own."""

    settings = FewShotSettings
    any_segments = True
    learning_share = segment_share = 0.8  # the decoder runs once per segment

    def for_encoder(self, architecture: Architecture) -> Method:
        place = family_of(architecture).FEW_SHOT
        if not place:
            return self
        module, _, name = place.partition(":")
        return getattr(import_module(module), name)

    def new_head(self, parts: Parts, settings: Any) -> Head:
        return FewShotHead(TokenDecoder(parts.mask_decoder, parts.prompt_encoder), parts.class_count, settings)


METHOD = FewShot()
