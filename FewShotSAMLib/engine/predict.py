"""Predicts every slice of a volume with what was learned."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event

import numpy as np
import torch

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.engine.confidence import SliceConfidence, percent, slice_confidence
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.methods.interface import Predictor
from FewShotSAMLib.sam.fast.parallel import one_thread_each
from FewShotSAMLib.sam.finite import require_finite
from FewShotSAMLib.sam.framing import Framing

CERTAIN_PERCENT = 100
RULED_OUT = -1e4
"""Logit of a class that cannot be on a slice: far below any other, and finite, for sums with weight 0."""
BATCH = 4
"""Slices that a core, or the graphics card, is asked about at once."""
IN_FLIGHT = 16
"""Slices that all cores together are asked about at once, at most, for the memory."""


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
    """Fill in the slices `indices`, ascending, of the prediction in all its passes or those given.

    `on_batch` hears which slices are new, `ruled_out` tells which classes cannot be on a slice, `painted` what is
    painted on it, if it is painted for some segments only (`Annotation.classes`). A pass may ask what the one before it
    found on the slices beside; the last one's answer counts.
    """
    numbers = list(range(predictor.passes) if passes is None else passes)
    write = _Writer(embeddings.framing, prediction, ruled_out, painted)
    cores = min(torch.get_num_threads(), IN_FLIGHT) if embeddings.device.type == "cpu" else 1
    batches = _parts(indices, _even(len(indices), cores))
    pieces = Pieces(len(batches), len(numbers), cores + 1)
    loaded: dict[int, torch.Tensor] = {}
    shown = 0

    def answer(place: int, late: int) -> None:
        batch = batches[place]
        if late == 0:
            loaded[place] = embeddings.slices(batch)
        with torch.inference_mode():
            logits = predictor.predict(loaded[place], batch, numbers[late])
            if late == len(numbers) - 1:
                write(batch, require_finite(logits, "The prediction"))
                del loaded[place]

    def tell() -> None:
        nonlocal shown
        context.progress("predict", len(pieces.done), len(pieces.order))
        first = shown
        while (shown, len(numbers) - 1) in pieces.done:
            shown += 1
        if on_batch is not None and shown > first:
            on_batch([index for batch in batches[first:shown] for index in batch])

    tell()
    if cores == 1:
        for piece in pieces.order:
            pieces.do(answer, *piece)
            tell()
        return
    with one_thread_each(tell, cores) as run:  # decoders are so small that two are hardly faster at the same slice
        try:
            run(partial(pieces.do, answer), pieces.order)
        except BaseException:
            pieces.stop()
            raise


class Pieces:
    """Batches in passes, to be done by several threads: a pass follows the one before it so much `later` that it seldom
    has to wait for that to be through with a batch and those beside it. order: (batch, pass), all that a piece waits
    for comes before it; done: those that were answered."""

    def __init__(self, batches: int, passes: int, later: int) -> None:
        steps = range(batches + later * (passes - 1))
        turns = [(step - later * late, late) for step in steps for late in range(passes)]
        self.order = [(place, late) for place, late in turns if 0 <= place < batches]
        self.done: set[tuple[int, int]] = set()
        self._may_go_on = {piece: Event() for piece in self.order}
        self._is_stopped = False

    def do(self, work: Callable[[int, int], None], place: int, late: int) -> None:
        """Do a piece of work once it can be done; nothing after `stop`. An error stops all."""
        for beside in (place - 1, place, place + 1):
            if (event := self._may_go_on.get((beside, late - 1))) is not None:
                event.wait()
        if self._is_stopped:
            return
        try:
            work(place, late)
        except BaseException:
            self.stop()
            raise
        self.done.add((place, late))
        self._may_go_on[place, late].set()

    def stop(self) -> None:
        """Let nobody wait any more: what they wait for may never be done."""
        self._is_stopped = True
        for event in self._may_go_on.values():
            event.set()


def _even(count: int, cores: int) -> int:
    """How many slices go into a batch, so that all cores have about as much to do."""
    rounds = max(1, math.ceil(count / (cores * min(BATCH, IN_FLIGHT // cores))))
    return max(1, math.ceil(count / (cores * rounds)))


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
