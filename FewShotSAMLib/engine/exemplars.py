"""Exemplars: painted and empty slices with their embeddings, ready to learn from."""

from collections.abc import Sequence

import numpy as np
import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.methods.augmentation import SliceAugmentation
from FewShotSAMLib.methods.interface import Exemplar
from FewShotSAMLib.methods.tokens import BACKGROUND


def collect_exemplars(
    annotation: Annotation,
    embeddings: SliceEmbeddings,
    copies: int,
    stride: int,
    context: JobContext,
    unchanged: Sequence[Exemplar] = (),
) -> list[Exemplar]:
    """Every slice of which something is known and `copies` augmented copies of each; targets are 1/stride of the image
    wide. unchanged: as for `Task.exemplars`."""
    class_count = len(annotation.segmentation.segments)
    exemplars = [each for each in unchanged if each.slice_index in annotation.exemplars]
    made = {each.slice_index for each in exemplars}
    missing = [index for index in annotation.exemplars if index not in made]
    embeddings.ensure(missing)
    for done, index in enumerate(missing):
        context.progress("augment", done, len(missing))
        classes = np.ascontiguousarray(embeddings.framing.cut(annotation.classes(index)))
        clean = embeddings.slices([index])[0]
        unknown = tuple(sorted(annotation.unknown(index)))
        exemplars.append(_exemplar(index, 0, clean, classes, class_count, stride, embeddings, unknown))
        if copies:
            augmented = embeddings.augmented(index, copies)
            for copy, embedding in enumerate(augmented, start=1):
                moved = _moved(classes, index, copy, embeddings)
                exemplars.append(_exemplar(index, copy, embedding, moved, class_count, stride, embeddings, unknown))
    context.progress("augment", len(missing), len(missing))
    return sorted(exemplars, key=lambda each: each.slice_index)


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
    unknown: tuple[int, ...],
) -> Exemplar:
    target, weight = embeddings.framing.target(classes, class_count, stride)
    cells = embeddings.framing.cell_weights(classes, class_count)
    if unknown:
        cells[BACKGROUND] = 0.0  # it may be one of them
    return Exemplar(index, copy, embedding, target.half(), weight.half(), cells, unknown)
