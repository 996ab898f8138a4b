"""Predicts every slice of a volume with what was learned."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.engine.confidence import SliceConfidence, percent, slice_confidence
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.methods.interface import Predictor
from FewShotSAMLib.sam.fast.parallel import Work, one_thread_each, run_in_turn
from FewShotSAMLib.sam.finite import require_finite
from FewShotSAMLib.sam.framing import Framing

CERTAIN_PERCENT = 100
RULED_OUT = -1e4
"""Logit of a class that cannot be on a slice: far below any other, and finite, for sums with weight 0."""
BATCH = 4
"""Slices that a core, or the graphics card, is asked about at once."""
IN_FLIGHT = 16
"""Slices that all cores together are asked about at once, at most, for the memory."""
LATER = 2
"""Steps by which a pass follows the one before it: one, so that the slices on either side are through, and another one,
so that all passes of a step can be computed side by side."""


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
    painted: Callable[[int], np.ndarray | None] = lambda index: None,
    passes: Sequence[int] | None = None,
) -> None:
    """Fill in the slices `indices` of the prediction in all its passes or those given, a batch on each core at once.

    `on_batch` hears which slices are new, `ruled_out` tells which classes cannot be on a slice, `painted` what is
    painted on it, if it is painted for some segments only (`Annotation.classes`). A pass may ask what the one before it
    found on the slices beside; the last one's answer counts.
    """
    numbers = list(range(predictor.passes) if passes is None else passes)
    write = _Writer(embeddings.framing, prediction, ruled_out, painted)
    loaded: dict[int, torch.Tensor] = {}

    def answer(batch: Sequence[int], number: int) -> None:
        if number == numbers[0]:
            loaded[batch[0]] = embeddings.slices(batch)
        with torch.inference_mode():
            logits = predictor.predict(loaded[batch[0]], batch, number)
            if number == numbers[-1]:
                write(batch, require_finite(logits, "The prediction"))
                del loaded[batch[0]]

    with _shared_out(embeddings.device, context.check) as (run, cores):
        rounds = max(1, math.ceil(len(indices) / (cores * min(BATCH, IN_FLIGHT // cores))))
        size = max(1, math.ceil(len(indices) / (cores * rounds)))
        steps = [_parts(part, size) for part in _parts(indices, size * cores)]
        total = len(steps) + LATER * (len(numbers) - 1) if steps else 0
        for step in range(total):
            context.progress("predict", step, total)
            places = [step - LATER * late for late in range(len(numbers))]
            turns = [(place, number) for place, number in zip(places, numbers, strict=True) if 0 <= place < len(steps)]
            run(answer, [(batch, number) for place, number in turns for batch in steps[place]])
            if on_batch is not None and places[-1] >= 0:
                on_batch([index for batch in steps[places[-1]] for index in batch])
    context.progress("predict", total, total)


@contextmanager
def _shared_out(device: torch.device, check: Callable[[], None]) -> Iterator[tuple[Work, int]]:
    """What runs pieces of work, and how many at once: decoders are so small that two cores are hardly faster than one
    at the same slice."""
    cores = torch.get_num_threads()
    if device.type != "cpu" or cores == 1:
        yield run_in_turn, 1
        return
    with one_thread_each(check, IN_FLIGHT) as run:
        yield run, min(cores, IN_FLIGHT)


def _parts(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


class _Writer:
    """Turns logits of slices into classes and confidence in the prediction."""

    def __init__(
        self,
        framing: Framing,
        prediction: Prediction,
        ruled_out: Callable[[int], Collection[int]],
        painted: Callable[[int], np.ndarray | None],
    ) -> None:
        axis = framing.plane.axis
        self._framing, self._slices = framing, prediction.slices
        self._classes = np.moveaxis(prediction.classes, axis, 0)
        self._confidence = None if prediction.confidence is None else np.moveaxis(prediction.confidence, axis, 0)
        self._ruled_out, self._painted = ruled_out, painted

    def __call__(self, batch: Sequence[int], logits: torch.Tensor) -> None:
        for index, framed in zip(batch, logits, strict=True):
            framed[list(self._ruled_out(index))] = RULED_OUT
            probability = self._framing.uncut(framed).softmax(dim=0).cpu()
            if (given := self._painted(index)) is not None:
                _keep_painted(probability, self._framing.cut(given))
            best, label = probability.max(dim=0)  # many times as fast as argmax along the first dimension
            self._slices[index] = slice_confidence(probability, best, label)
            self._framing.cut(self._classes[index])[...] = label.to(torch.uint8).numpy()
            if self._confidence is not None:
                self._confidence[index] = CERTAIN_PERCENT  # what lies outside the crop is air around the body
                self._framing.cut(self._confidence[index])[...] = percent(best).numpy()


def _keep_painted(probability: torch.Tensor, given: np.ndarray) -> None:
    """Make the painted pixels of a slice certain in its probabilities (C + 1, rows, columns), in place."""
    inside = torch.from_numpy(given > 0)
    classes = torch.from_numpy(np.where(given == IGNORE, 0, given)[given > 0].astype(np.int64))
    probability[:, inside] = torch.nn.functional.one_hot(classes, len(probability)).T.to(probability)
