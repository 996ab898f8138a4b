"""Predicts every slice of a volume with a trained predictor."""

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
"""Logit of a class that cannot occur on a slice: far below any other, but finite, for sums with weight 0."""
BATCH = 4
"""Slices that one core, or the GPU, predicts at once."""
IN_FLIGHT = 16
"""Maximum number of slices that all cores together predict at once, which limits memory use."""


RuledOut = Callable[[int], Collection[int]]
"""The classes that cannot occur on a slice."""
PartlyPainted = Callable[[int], np.ndarray | None]
"""The classes painted on a slice, if it is painted for some segments only (`Annotation.classes`)."""
Cut = Callable[[np.ndarray], np.ndarray]
"""A part of a slice (rows, columns), as a view."""


@dataclass
class Prediction:
    """The prediction so far.

    classes (K, J, I): 0 background, 1..C; confidence (K, J, I), if wanted: percent, 0 on slices not predicted; slices:
    the confidence of each predicted slice.
    """

    classes: np.ndarray
    confidence: np.ndarray | None
    slices: dict[int, SliceConfidence]

    def fill_in(self, axis: int, index: int, probability: torch.Tensor, cut: Cut = lambda array: array) -> None:
        """Set a slice, or the part that `cut` selects, from its class probabilities (C + 1, rows, columns)."""
        best, label = probability.max(dim=0)  # many times faster than argmax along the first dimension
        self.slices[index] = slice_confidence(probability, best, label)
        cut(np.moveaxis(self.classes, axis, 0)[index])[...] = label.to(torch.uint8).numpy()
        if self.confidence is not None:
            confidence = np.moveaxis(self.confidence, axis, 0)[index]
            confidence[...] = CERTAIN_PERCENT  # what lies outside the crop is air around the body
            cut(confidence)[...] = percent(best).numpy()


def predict(
    predictor: Predictor,
    embeddings: SliceEmbeddings,
    indices: Sequence[int],
    prediction: Prediction,
    context: JobContext,
    on_batch: Callable[[Sequence[int]], None] | None = None,
    ruled_out: RuledOut = lambda index: (),
    painted: PartlyPainted = lambda index: None,
    passes: Sequence[int] | None = None,
) -> None:
    """Fill in the slices `indices`, ascending, of the prediction, in all passes of the predictor or those given.

    `on_batch` is called with the new slices. A pass may use what the previous pass found on neighbouring slices; the
    result is that of the last pass.
    """
    numbers = list(range(predictor.passes) if passes is None else passes)
    framing = embeddings.framing
    cores = min(torch.get_num_threads(), IN_FLIGHT) if embeddings.device.type == "cpu" else 1
    size = _even(len(indices), cores)
    batches = [indices[start : start + size] for start in range(0, len(indices), size)]
    pieces = Pieces(len(batches), len(numbers), cores + 1)
    loaded: dict[int, torch.Tensor] = {}
    shown = 0

    def predict_batch(batch_index: int, pass_index: int) -> None:
        batch = batches[batch_index]
        if pass_index == 0:
            loaded[batch_index] = embeddings.slices(batch)
        with torch.inference_mode():
            logits = predictor.predict(loaded[batch_index], batch, numbers[pass_index])
            if pass_index == len(numbers) - 1:
                for index, framed in zip(batch, require_finite(logits, "The prediction"), strict=True):
                    probability = _probability(framing, framed, ruled_out(index), painted(index))
                    prediction.fill_in(framing.plane.axis, index, probability, framing.cut)
                del loaded[batch_index]

    def report() -> None:
        nonlocal shown
        context.progress("predict", len(pieces.done), len(pieces.order))
        first = shown
        while (shown, len(numbers) - 1) in pieces.done:
            shown += 1
        if on_batch is not None and shown > first:
            on_batch([index for batch in batches[first:shown] for index in batch])

    report()
    if cores == 1:
        for piece in pieces.order:
            pieces.do(predict_batch, *piece)
            report()
        return
    with one_thread_each(report, cores) as run:  # decoders are so small that a second core hardly speeds up a slice
        try:
            run(partial(pieces.do, predict_batch), pieces.order)
        except BaseException:
            pieces.stop()
            raise


class Pieces:
    """Batches in several passes, shared by several threads. Each pass starts `later` batches after the previous one, so
    that it seldom has to wait until that is done with a batch and its neighbours. order: (batch, pass), each piece
    after all pieces it waits for; done: the finished pieces."""

    def __init__(self, batches: int, passes: int, later: int) -> None:
        steps = range(batches + later * (passes - 1))
        turns = [(step - later * pass_index, pass_index) for step in steps for pass_index in range(passes)]
        self.order = [(batch_index, pass_index) for batch_index, pass_index in turns if 0 <= batch_index < batches]
        self.done: set[tuple[int, int]] = set()
        self._is_done = {piece: Event() for piece in self.order}
        self._is_stopped = False

    def do(self, work: Callable[[int, int], None], batch_index: int, pass_index: int) -> None:
        """Do a piece once the pieces it depends on are done; do nothing after `stop`. An error stops all pieces."""
        for neighbour in (batch_index - 1, batch_index, batch_index + 1):
            if (event := self._is_done.get((neighbour, pass_index - 1))) is not None:
                event.wait()
        if self._is_stopped:
            return
        try:
            work(batch_index, pass_index)
        except BaseException:
            self.stop()
            raise
        self.done.add((batch_index, pass_index))
        self._is_done[batch_index, pass_index].set()

    def stop(self) -> None:
        """Wake all waiting threads: what they wait for may never be done."""
        self._is_stopped = True
        for event in self._is_done.values():
            event.set()


def _even(count: int, cores: int) -> int:
    """Slices per batch such that all cores get about the same amount of work."""
    rounds = max(1, math.ceil(count / (cores * min(BATCH, IN_FLIGHT // cores))))
    return max(1, math.ceil(count / (cores * rounds)))


def _probability(
    framing: Framing, logits: torch.Tensor, ruled_out: Collection[int], painted: np.ndarray | None
) -> torch.Tensor:
    """Class probabilities (C + 1, rows, columns) of a cut slice from its logits, which are modified; painted pixels are
    certain."""
    logits[list(ruled_out)] = RULED_OUT
    probability = framing.uncut(logits).softmax(dim=0).cpu()
    if painted is not None:
        given = framing.cut(painted)
        classes = torch.from_numpy(np.where(given == IGNORE, 0, given)[given > 0].astype(np.int64))
        certain = torch.nn.functional.one_hot(classes, len(probability)).T.to(probability)
        probability[:, torch.from_numpy(given > 0)] = certain
    return probability
