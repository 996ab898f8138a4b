"""One key's embeddings during a run: on disk where possible, in memory where not, and never a damaged slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from FewShotSAMLib.sam.embedding_file import Slots

Warn = Callable[[str], None]


class MissingSlicesError(Exception):
    """Slices were read that are not there, or no longer intact: `indices`. Encode them (again), write, and read."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__(f"no intact embedding of slices {indices}")
        self.indices = indices


class EmbeddingStore:
    """float16 embeddings of `count` slices, each of `slice_shape` (C, h, w). Made by EmbeddingCache.open."""

    def __init__(self, slots: Slots | None, count: int, slice_shape: tuple[int, int, int], warn: Warn) -> None:
        self.count = count
        self.slice_shape = slice_shape
        self._slots = slots
        self._writes_to_disk = slots is not None
        self._memory: dict[int, np.ndarray] = {}
        self._intact: set[int] = set()
        self._warn = warn
        self._told_damage = False

    @property
    def persistent(self) -> bool:
        """Whether what is written now will still be there in the next run."""
        return self._writes_to_disk

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those of `indices` that have to be encoded: never written, or damaged since (each is read once to see)."""
        return [index for index in indices if not self._is_intact(index)]

    def write(self, index: int, embedding: np.ndarray) -> None:
        """Keep the embedding (C, h, w), rounded to float16. Never raises for the disk's sake: memory takes over."""
        self._check_index(index)
        if embedding.shape != self.slice_shape:
            raise ValueError(f"embedding of shape {embedding.shape}, expected {self.slice_shape}")
        if self._slots is not None and self._writes_to_disk:
            try:
                self._slots.write(index, embedding)
                self._intact.add(index)
                return
            except OSError as error:
                self._writes_to_disk = False
                self._warn(
                    f"The embedding cache cannot be written ({error.strerror or error}); this run keeps further "
                    "embeddings in memory, and the next run computes them again. Free some space on the disk."
                )
        self._memory[index] = embedding.astype(np.float16)

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """Embeddings of the slices, float16 (n, C, h, w). Raises MissingSlicesError naming all that are not intact."""
        wanted = list(indices)
        result = np.empty((len(wanted), *self.slice_shape), np.float16)
        lost = []
        for row, index in enumerate(wanted):
            embedding = self._get(index)
            if embedding is None:
                lost.append(index)
            else:
                result[row] = embedding
        if lost:
            raise MissingSlicesError(lost)
        return result

    def close(self) -> None:
        """Let go of the file; the store cannot be used afterwards."""
        if self._slots is not None:
            self._slots.file.release()
        self._slots = None
        self._writes_to_disk = False
        self._memory.clear()
        self._intact.clear()

    def __enter__(self) -> EmbeddingStore:
        """The store itself; leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def _is_intact(self, index: int) -> bool:
        self._check_index(index)
        return index in self._memory or index in self._intact or self._get(index) is not None

    def _get(self, index: int) -> np.ndarray | None:
        """The embedding if it is there and intact; a damaged one is reported once."""
        self._check_index(index)
        if index in self._memory:
            return self._memory[index]
        if self._slots is None:
            return None
        embedding = self._slots.read(index)
        if embedding is not None:
            self._intact.add(index)
            return embedding
        self._intact.discard(index)
        if self._slots.is_marked(index) and not self._told_damage:
            self._told_damage = True
            self._warn(
                f"The embedding cache {self._slots.file.path} holds damaged slices (such as {index}); they are "
                "computed again. If this recurs, check the disk."
            )
        return None

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise IndexError(f"slice {index} of {self.count}")
