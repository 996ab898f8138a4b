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
from FewShotSAMLib.sam.framing import Framing


def collect_exemplars(
    annotation: Annotation,
    embeddings: SliceEmbeddings,
    copies: int,
    stride: int,
    context: JobContext,
    unchanged: Sequence[Exemplar] = (),
) -> list[Exemplar]:
    """Every slice with known labels, and `copies` augmented copies of each; targets are 1/stride of the image wide.
    unchanged: as for `Task.exemplars`."""
    framing = embeddings.framing
    exemplars = [each for each in unchanged if each.slice_index in annotation.exemplars]
    made = {each.slice_index for each in exemplars}
    missing = [index for index in annotation.exemplars if index not in made]
    embeddings.ensure(missing)
    for done, index in enumerate(missing):
        context.progress("augment", done, len(missing))
        classes = np.ascontiguousarray(framing.cut(annotation.classes(index)))
        exemplars.append(_exemplar(index, 0, embeddings.slices([index])[0], classes, annotation, stride, framing))
        for copy, embedding in enumerate(embeddings.augmented(index, copies) if copies else (), start=1):
            moved = SliceAugmentation(index, copy).apply(torch.zeros(classes.shape), classes, framing.aspect)[1]
            exemplars.append(_exemplar(index, copy, embedding, moved, annotation, stride, framing))
    context.progress("augment", len(missing), len(missing))
    return sorted(exemplars, key=lambda each: each.slice_index)


def _exemplar(
    index: int,
    copy: int,
    embedding: torch.Tensor,
    classes: np.ndarray,
    annotation: Annotation,
    stride: int,
    framing: Framing,
) -> Exemplar:
    class_count, unknown = len(annotation.segmentation.segments), tuple(sorted(annotation.unknown(index)))
    target, weight = framing.target(classes, class_count, stride)
    cells = framing.cell_weights(classes, class_count)
    if unknown:
        cells[BACKGROUND] = 0.0  # background may be one of the unknown segments
    return Exemplar(index, copy, embedding, target.half(), weight.half(), cells, unknown)
