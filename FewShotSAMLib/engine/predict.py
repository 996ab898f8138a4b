"""Predicts every slice of a volume with what was learned."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from FewShotSAMLib.engine.confidence import SliceConfidence, percent, slice_confidence
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.methods.interface import Predictor

CERTAIN_PERCENT = 100
RULED_OUT = -1e4
"""Logit of a class that cannot be on a slice: far below any other, and finite, for sums with weight 0."""
BATCH = 4
"""Slices per pass."""


@dataclass
class Prediction:
    """What was predicted so far.

    classes (K, J, I): 0 background, 1..C; confidence (K, J, I), if wanted: percent, and 0 on slices not predicted;
    slices: the confidence of each predicted slice.
    """

    classes: np.ndarray
    confidence: np.ndarray | None
    slices: dict[int, SliceConfidence]


def predict(
    predictor: Predictor,
    embeddings: SliceEmbeddings,
    indices: Sequence[int],
    prediction: Prediction,
    context: JobContext,
    on_batch: Callable[[Sequence[int]], None] | None = None,
    ruled_out: Callable[[int], Collection[int]] = lambda index: (),
) -> None:
    """Fill in the slices `indices` of the prediction, batch by batch, in all its passes; `on_batch` hears
    which slices are new, `ruled_out` tells which classes cannot be on a slice."""
    axis = embeddings.framing.plane.axis
    classes = np.moveaxis(prediction.classes, axis, 0)
    confidence = None if prediction.confidence is None else np.moveaxis(prediction.confidence, axis, 0)
    steps = [(number, start) for number in range(predictor.passes) for start in range(0, len(indices), BATCH)]
    for number, start in steps:
        context.progress("predict", number * len(indices) + start, predictor.passes * len(indices))
        batch = indices[start : start + BATCH]
        with torch.inference_mode():
            logits = predictor.predict(embeddings.slices(batch), batch, number)
            for index, framed in zip(batch, logits, strict=True):
                framed[list(ruled_out(index))] = RULED_OUT
                probability = embeddings.framing.uncut(framed).softmax(dim=0).cpu()
                prediction.slices[index] = slice_confidence(probability)
                embeddings.framing.cut(classes[index])[...] = probability.argmax(dim=0).to(torch.uint8).numpy()
                if confidence is not None:
                    confidence[index] = CERTAIN_PERCENT  # what lies outside the crop is air around the body
                    embeddings.framing.cut(confidence[index])[...] = percent(probability).numpy()
        if on_batch is not None:
            on_batch(batch)
    context.progress("predict", predictor.passes * len(indices), predictor.passes * len(indices))
