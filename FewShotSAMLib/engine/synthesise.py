"""Synthesised pairs from the painted slices of a volume: which slices supply regions, and which receive them."""

import hashlib

import numpy as np
import torch

from FewShotSAMLib.core.annotation import IGNORE, Annotation
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.methods.augmentation import random_below
from FewShotSAMLib.methods.synthesis import RECIPE, LabelledSlice, Synthesis, dilated

KNOWN_HOST_SHARE = 0.5
"""Probability that the host is a painted or empty slice, on which all pixels are known."""


class PairMaker:
    """Makes pair 0, 1, 2, ...: the same number and seed always give the same pair.

    Regions come from painted slices and are pasted into any slice of the volume (our reading: the paper's hosts are
    other images of its data set). On a painted or empty host the rest of the slice keeps its labels, except for
    background that may be a segment unknown there. A slice beyond an empty one, seen from the painted ones, is taken as
    background. Any other host may contain the segments, so nothing is learned from it outside the pasted regions and a
    narrow rim, nor from the rim where the painted slices next to the host show a segment.
    """

    def __init__(self, annotation: Annotation, embeddings: SliceEmbeddings, seed: int) -> None:
        self._annotation, self._embeddings, self._seed = annotation, embeddings, seed
        self._count = annotation.segmentation.layers.shape[1 + annotation.axis]
        self._known = {index: self._labelled(index) for index in sorted((*annotation.painted, *annotation.empty))}
        shown = {index: np.setdiff1d(self._known[index].classes, (0, IGNORE)) for index in annotation.painted}
        self._sources = [index for index, labels in shown.items() if labels.size]

    @property
    def key(self) -> str:
        """Part of a cache key: everything a pair depends on besides the volume, its window and framing."""
        digest = hashlib.sha256(repr((self._annotation.painted, self._annotation.empty)).encode())
        if any(self._annotation.unknown(index) for index in self._known):
            digest.update(repr(self._annotation.known).encode())
        for index in self._annotation.painted:
            digest.update(self._annotation.classes(index).tobytes())
        return f"{RECIPE} seed={self._seed} painted={digest.hexdigest()[:16]}"

    @property
    def possible(self) -> bool:
        """Whether any painted slice shows a segment in the part that the encoder sees."""
        return bool(self._sources)

    def slice_at(self, index: int) -> LabelledSlice:
        """A slice with its known labels."""
        return self._known.get(index) or self._labelled(index)

    def _labelled(self, index: int) -> LabelledSlice:
        grey = self._embeddings.shown(index)
        shape = tuple(grey.shape[:2])
        if index in self._annotation.painted or index in self._annotation.empty:
            classes = np.ascontiguousarray(self._embeddings.framing.cut(self._annotation.classes(index)))
            if self._annotation.unknown(index):
                classes[classes == 0] = IGNORE
        elif self._is_beyond(index):
            classes = np.zeros(shape, dtype=np.uint8)
        else:
            return LabelledSlice(grey, np.full(shape, IGNORE, dtype=np.uint8), self._likely(index))
        return LabelledSlice(grey, classes)

    def _likely(self, index: int) -> np.ndarray:
        """Where the known slices on either side show a segment, and a little beyond."""
        below = max((known for known in self._known if known < index), default=None)
        above = min((known for known in self._known if known > index), default=None)
        shown = [self._known[known].classes > 0 for known in (below, above) if known is not None]
        return dilated(np.logical_or.reduce(shown))

    def pair(self, number: int) -> LabelledSlice:
        """Pair `number`, from 0 up."""
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + number) % 2**63)
        source = self._sources[random_below(len(self._sources), generator)]
        host = self._host(source, generator)
        synthesis = Synthesis(self._embeddings.framing.aspect, generator)
        return synthesis.pair(self.slice_at(source), self.slice_at(host))

    def _host(self, source: int, generator: torch.Generator) -> int:
        known = [index for index in self._known if index != source]
        others = [index for index in range(self._count) if index not in self._known]
        take_known = float(torch.rand((), generator=generator)) < KNOWN_HOST_SHARE
        hosts = (known if take_known else others) or others or known or [source]
        return hosts[random_below(len(hosts), generator)]

    def _is_beyond(self, index: int) -> bool:
        """Whether an empty slice lies between this one and all painted ones."""
        first, last = self._annotation.painted[0], self._annotation.painted[-1]
        return any(index < empty < first or last < empty < index for empty in self._annotation.empty)
