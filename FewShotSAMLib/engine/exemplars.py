"""Exemplars: painted and empty slices with their embeddings, ready to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.methods.augmentation import SliceAugmentation
from FewShotSAMLib.methods.few_shot import FewShotSettings
from FewShotSAMLib.methods.tokens import Token, pool_tokens
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS


@dataclass(frozen=True)
class Exemplar:
    """One view of a painted or empty slice: copy 0 is the slice itself, others are augmented copies.

    embedding (channels, h, w) float16; target (C + 1, H, W) and weight (H, W) as in Framing.target; cells
    (C + 1, h, w), the area of each class in each cell of the embedding.
    """

    slice_index: int
    copy: int
    embedding: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    cells: torch.Tensor


def collect_exemplars(
    annotation: Annotation, embeddings: SliceEmbeddings, copies: int, stride: int, context: JobContext
) -> list[Exemplar]:
    """Every painted and empty slice and `copies` augmented copies of each; targets are 1/stride of the image wide."""
    class_count = len(annotation.segmentation.segments)
    embeddings.ensure(annotation.exemplars)
    exemplars = []
    for done, index in enumerate(annotation.exemplars):
        context.progress("augment", done, len(annotation.exemplars))
        classes = np.ascontiguousarray(embeddings.framing.cut(annotation.classes(index)))
        clean = embeddings.slices([index])[0]
        exemplars.append(_exemplar(index, 0, clean, classes, class_count, stride, embeddings))
        if copies:
            augmented = embeddings.augmented(index, copies)
            for copy, embedding in enumerate(augmented, start=1):
                moved = _moved(classes, index, copy, embeddings)
                exemplars.append(_exemplar(index, copy, embedding, moved, class_count, stride, embeddings))
    context.progress("augment", len(annotation.exemplars), len(annotation.exemplars))
    return exemplars


def _moved(classes: np.ndarray, index: int, copy: int, embeddings: SliceEmbeddings) -> np.ndarray:
    blank = torch.zeros(classes.shape)
    return SliceAugmentation(index, copy).apply(blank, classes, embeddings.framing.aspect)[1]


def _exemplar(
    index: int,
    copy: int,
    embedding: torch.Tensor,
    classes: np.ndarray,
    class_count: int,
    stride: int,
    embeddings: SliceEmbeddings,
) -> Exemplar:
    target, weight = embeddings.framing.target(classes, class_count, stride)
    cells = embeddings.framing.cell_weights(classes, class_count)
    return Exemplar(index, copy, embedding, target.half(), weight.half(), cells)


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
