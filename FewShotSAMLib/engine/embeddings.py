"""The embeddings of one volume's slices: read from the cache, or computed by the encoder if missing there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.intensity import IntensityWindow
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.methods.augmentation import RECIPE, SliceAugmentation
from FewShotSAMLib.sam.cache import EmbeddingCache, EmbeddingStore, MissingSlicesError
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.finite import require_finite
from FewShotSAMLib.sam.framing import Framing, averaged

BLACK = (0.0, 0.0, 0.0)
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), for encoders that see a slice between its neighbours."""
STATE_KEY = "embeddings"
"""Key in JobContext.state under which a `_Kept` is passed from one job to the next."""

Report = Callable[[int, int], None]
"""Takes the number of slices done and their total."""


@dataclass(frozen=True)
class _Kept:
    """In-memory stores, by key, of the volume with this hash. `others` are those of the encoder used before this one:
    LoRA uses two in turn, the original and an adapted one that no other run will use again."""

    volume: str
    encoder: str
    stores: dict[str, EmbeddingStore]
    others: dict[str, EmbeddingStore]


def forget(state: dict[str, Any]) -> None:
    """Release what the last job left in memory; `state` is that of its JobContext."""
    kept: _Kept | None = state.pop(STATE_KEY, None)
    if kept is not None:
        _close({**kept.stores, **kept.others})


def _close(stores: Mapping[str, EmbeddingStore]) -> None:
    for store in stores.values():
        store.close()


class SliceEmbeddings:
    """Embeddings (channels, S/16, S/16), float16, of a volume's slices for one framing and one window.

    Use as a context manager: it keeps the volume's cache files open. Embeddings that cannot be stored on disk stay in
    memory for this process's next job on the same volume.
    """

    def __init__(
        self,
        volume: Volume,
        window: IntensityWindow,
        framing: Framing,
        encoder: Encoder,
        cache: EmbeddingCache,
        context: JobContext,
    ) -> None:
        self.framing = framing
        self._volume, self._window, self._encoder = volume, window, encoder
        self._cache, self._context = cache, context
        self._used: set[str] = set()
        self._stores, self._others = self._from_last_job()

    @property
    def device(self) -> torch.device:
        """The encoder's device."""
        return self._encoder.device

    def at(self, window: IntensityWindow, framing: Framing) -> "SliceEmbeddings":
        """Embeddings of the same volume for another framing and window, closed together with these."""
        twin = SliceEmbeddings.__new__(SliceEmbeddings)
        twin.__dict__.update(self.__dict__, framing=framing, _window=window)
        return twin

    def __enter__(self) -> "SliceEmbeddings":
        return self

    def __exit__(self, *details: object) -> None:
        used = {name: store for name, store in self._stores.items() if name in self._used or not self._used}
        in_memory = {name: store for name, store in used.items() if not store.persistent}
        for name, store in self._stores.items():
            if name not in in_memory:
                store.close()
        kept = _Kept(self._volume.content_hash, self._encoder.cache_key, in_memory, self._others)
        self._context.state[STATE_KEY] = kept
        self._stores = {}

    def grey(self, index: int) -> np.ndarray:
        """The cut slice in 0..1, float32, (rows, columns) or (rows, columns, 3)."""
        cut = self.framing.cut(self._volume.slice_at(self.framing.plane.axis, index))
        return np.ascontiguousarray(self._window.apply(cut))

    def image(self, index: int) -> torch.Tensor:
        """The encoder's input for a slice: (3, S, S), 0..255."""
        return self.framed(self.shown(index))

    def shown(self, index: int) -> torch.Tensor:
        """What the encoder sees of a cut slice, in 0..1, float32: (rows, columns), or (rows, columns, 3) for a colour
        volume; always (rows, columns, 3) for an encoder that sees neighbours: the slice between its two neighbours."""
        if not self._encoder.spec.architecture.sees_neighbours:
            return torch.from_numpy(self.grey(index))
        last = self._volume.voxels.shape[self.framing.plane.axis] - 1
        neighbours = [min(max(index + offset, 0), last) for offset in (-1, 0, 1)]
        return torch.stack([self._single(number) for number in neighbours], dim=-1)

    def framed(self, shown: torch.Tensor) -> torch.Tensor:
        """The encoder's image (3, S, S), 0..255, of a slice as `shown` returns it, or of one derived from those."""
        between = self._encoder.spec.architecture.sees_neighbours
        return self.framing.image(shown, BLACK) if between else self.framing.image(shown)

    def plain(self, indices: Sequence[int], side: int) -> torch.Tensor:
        """Framed slices (n, side, side) in 0..1, black beyond the volume."""
        framed = (self.framing.image(self._single(index), BLACK)[:1] for index in indices)
        return torch.cat([averaged(each, side) for each in framed]) / 255

    def _single(self, index: int) -> torch.Tensor:
        grey = torch.from_numpy(self.grey(index))
        return grey if grey.ndim == 2 else grey @ torch.tensor(LUMINANCE)

    def ensure(self, indices: Sequence[int]) -> None:
        """Encode the slices missing from the cache. Raises CancelledError; slices encoded by then stay in the cache."""
        self.encode(self.missing(indices), partial(self._context.progress, "encode"))

    def missing(self, indices: Sequence[int]) -> list[int]:
        """The slices missing from the cache."""
        return self._slices().missing(indices)

    def encode(self, missing: Sequence[int], report: Report) -> None:
        """Encode slices."""
        self._encode(self._slices(), missing, self.image, report)

    def _slices(self) -> EmbeddingStore:
        return self._store("slices", self._volume.voxels.shape[self.framing.plane.axis])

    def slices(self, indices: Sequence[int]) -> torch.Tensor:
        """Embeddings (n, channels, h, w), float16, of the slices."""
        return self._read(self._slices(), indices, lambda: self.ensure(indices))

    def augmented(self, index: int, copies: int) -> torch.Tensor:
        """Embeddings (copies, channels, h, w), float16, of a slice's augmented copies 1..copies."""
        shown = self.shown(index)
        unlabelled = np.zeros(shown.shape[:2], dtype=np.uint8)

        def copy(number: int) -> torch.Tensor:
            return SliceAugmentation(index, number + 1).apply(shown, unlabelled, self.framing.aspect)[0]

        return self._completed(f"augmented {self._prefix}{RECIPE} slice={index} copies={copies}", copies, copy)

    def made(self, name: str, count: int, shown_of: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """Embeddings (count, channels, h, w), float16, of cut slices, as `shown`, derived from this volume's.

        name, part of the cache key, must identify everything they depend on besides the volume.
        """
        return self._completed(f"{self._prefix}{name}", count, shown_of, partial(self._context.progress, "synthesise"))

    def _completed(
        self, name: str, count: int, shown_of: Callable[[int], torch.Tensor], report: Report = lambda done, total: None
    ) -> torch.Tensor:
        """All embeddings stored under a name, after encoding those that are missing."""
        store, wanted = self._store(name, count), range(count)

        def complete() -> None:
            self._encode(store, store.missing(wanted), lambda number: self.framed(shown_of(number)), report)

        complete()
        return self._read(store, wanted, complete)

    @property
    def _prefix(self) -> str:
        """Part of the cache keys of derived slices: whether they are made with their neighbours."""
        return "between neighbours " if self._encoder.spec.architecture.sees_neighbours else ""

    def _store(self, name: str, count: int) -> EmbeddingStore:
        window = f"window={self._window.low:.6g},{self._window.high:.6g}"
        key = f"{self._encoder.cache_key} {window} {self.framing.key} {name}"
        self._used.add(key)
        if key not in self._stores:
            self._stores[key] = self._cache.open(self._volume.content_hash, key, count, self._encoder.embedding_shape)
        return self._stores[key]

    def _from_last_job(self) -> tuple[dict[str, EmbeddingStore], dict[str, EmbeddingStore]]:
        """The in-memory stores that the last job left, if it used this volume: this encoder's, and the other encoder's.

        Stores of any further encoder are closed, so that those of adapted encoders do not accumulate.
        """
        kept: _Kept | None = self._context.state.pop(STATE_KEY, None)
        if kept is None:
            return {}, {}
        if kept.volume != self._volume.content_hash:
            _close({**kept.stores, **kept.others})
            return {}, {}
        if kept.encoder == self._encoder.cache_key:
            return dict(kept.stores), kept.others
        own = {name: store for name, store in kept.others.items() if name.startswith(f"{self._encoder.cache_key} ")}
        _close({name: store for name, store in kept.others.items() if name not in own})
        return own, kept.stores

    def _encode(
        self, store: EmbeddingStore, missing: Sequence[int], image_of: Callable[[int], torch.Tensor], report: Report
    ) -> None:
        step = self._encoder.gainful_batch  # not more, so that a killed run loses little
        for start in range(0, len(missing), step):
            report(start, len(missing))
            batch = store.missing(missing[start : start + step])  # another process may have been faster
            if not batch:
                continue
            images = torch.stack([image_of(index) for index in batch])
            for index, embedding in zip(batch, self._encoder.encode(images, self._context.check), strict=True):
                store.write(index, require_finite(embedding.half(), f"The embedding of slice {index}").numpy())
        if missing:
            report(len(missing), len(missing))

    def _read(self, store: EmbeddingStore, indices: Sequence[int], repair: Callable[[], None]) -> torch.Tensor:
        try:
            found = store.read(indices)
        except MissingSlicesError:  # damaged on disk since it was written: the store has warned; encode it again
            repair()
            found = store.read(indices)
        return require_finite(torch.from_numpy(found), "An embedding")


@dataclass(frozen=True)
class RegionEmbeddings:
    """Embeddings for the segments `labels` (1 to C) that have a region of their own, with their annotation."""

    labels: tuple[int, ...]
    annotation: Annotation
    embeddings: SliceEmbeddings

    def needs(self, index: int) -> bool:
        """Whether the region is used on a slice at all."""
        return index in self.annotation.exemplars or bool(self.annotation.sought(index))


class RegionalEmbeddings(SliceEmbeddings):
    """Embeddings of several regions, concatenated along the channels; 0 where a region is not used."""

    regions: tuple[RegionEmbeddings, ...] = ()

    def ensure(self, indices: Sequence[int]) -> None:
        """Encode the slices missing from the cache, in each region that is used on them."""
        needed = ([index for index in indices if region.needs(index)] for region in self.regions)
        missing = [region.embeddings.missing(some) for region, some in zip(self.regions, needed, strict=True)]
        done, count = 0, sum(map(len, missing))
        for region, each in zip(self.regions, missing, strict=True):
            region.embeddings.encode(each, partial(self._report, done, count))
            done += len(each)

    def _report(self, before: int, count: int, done: int, _: int) -> None:
        self._context.progress("encode", before + done, count)

    def slices(self, indices: Sequence[int]) -> torch.Tensor:
        """Embeddings (n, regions x channels, h, w), float16, of the slices."""
        found = torch.zeros(len(indices), len(self.regions), *self._encoder.embedding_shape, dtype=torch.float16)
        for number, region in enumerate(self.regions):
            rows = [row for row, index in enumerate(indices) if region.needs(index)]
            if rows:
                found[rows, number] = region.embeddings.slices([indices[row] for row in rows])
        return found.flatten(1, 2)
