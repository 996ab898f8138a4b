"""One volume with one encoder: what every job needs, gathered in one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.body import body_box
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.intensity import IntensityWindow, Normalisation
from FewShotSAMLib.core.plane import SlicePlane, slice_plane
from FewShotSAMLib.core.region import Box, Region, region_box
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.embeddings import RegionalEmbeddings, RegionEmbeddings, SliceEmbeddings
from FewShotSAMLib.engine.request import ComputeOptions
from FewShotSAMLib.engine.warm import open_cache
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.framing import Framing, whole_slice

STRETCH_SLICES = 48
"""Number of evenly spaced slices sampled to find the intensity range of a region."""
SEEN = "seen"
"""Key in JobContext.state of a volume's hash and what was computed from its voxels."""


@dataclass
class VolumeRun:
    """A volume, the axis of its slices, its normalisation, and the encoder.

    encoded: number of slices that `encode` had to encode because they were not in the cache.
    """

    volume: Volume
    axis: int
    normalisation: Normalisation
    encoder: Encoder
    compute: ComputeOptions
    context: JobContext
    timer: StageTimer
    plane: SlicePlane = field(init=False)
    window: IntensityWindow = field(init=False)
    encoded_before: int = field(init=False)
    encoded: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Derive the remaining fields."""
        self.plane = slice_plane(self.volume.geometry, self.axis)
        self.window = self.normalisation.resolve(self.volume)
        self.encoded_before = self.encoder.slices_encoded

    def embeddings(
        self, annotation: Annotation | None = None, earlier: Box | None = None, parts: Sequence[Region] = ()
    ) -> SliceEmbeddings:
        """Embeddings of the volume's slices, cropped to the body; uncropped if something is painted outside it.

        Some encoders see only the region around the paint: `earlier`, if that still fits; or the regions `parts`.
        """
        body = self._seen((self.axis, self.window), lambda: body_box(self.volume, self.plane, self.window))
        framing = Framing(self.plane, body, self.encoder.image_size)
        if annotation is not None and self.encoder.spec.architecture.sees_region:
            framing = replace(framing, crop=region_box(annotation, self.plane, earlier))
        elif annotation is not None and _painted_beyond(annotation, framing):
            framing = whole_slice(self.plane, self.encoder.image_size)
        cache = open_cache(self.compute, self.context)
        window = self._window_of(framing) if self.encoder.spec.architecture.sees_region else self.window
        if annotation is None or not parts:
            return SliceEmbeddings(self.volume, window, framing, self.encoder, cache, self.context)
        found = RegionalEmbeddings(self.volume, window, framing, self.encoder, cache, self.context)
        framings = [replace(framing, crop=part.crop) for part in parts]
        found.regions = tuple(
            RegionEmbeddings(part.labels, annotation.of(part.labels), found.at(self._window_of(each), each))
            for part, each in zip(parts, framings, strict=True)
        )
        return found

    def encode(self, embeddings: SliceEmbeddings, indices: Sequence[int]) -> None:
        """Encode the slices missing from the cache."""
        before = self.encoder.slices_encoded
        with self.timer.stage("encode"):
            embeddings.ensure(indices)
        self.encoded += self.encoder.slices_encoded - before

    def _window_of(self, framing: Framing) -> IntensityWindow:
        """The window stretched to the intensities in the framing's crop, as encoders of a region saw it in training."""
        key = (self.axis, self.window, framing.crop)
        return self._seen(key, lambda: self._stretched(framing))

    def _stretched(self, framing: Framing) -> IntensityWindow:
        count = self.volume.geometry.shape[self.axis]
        shown = np.unique(np.linspace(0, count - 1, min(count, STRETCH_SLICES)).round().astype(int))
        cuts = [self.window.apply(framing.cut(self.volume.slice_at(self.axis, int(index)))) for index in shown]
        return self.window.stretched(np.stack(cuts))

    def _seen(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """The result of `compute`, kept for later jobs of this process until one uses another volume."""
        volume, found = self.context.state.get(SEEN, ("", {}))
        if volume != self.volume.content_hash:
            found = {}
            self.context.state[SEEN] = (self.volume.content_hash, found)
        if key not in found:
            found[key] = compute()
        return found[key]


def predicted_slices(
    volume: Volume, axis: int, wanted: tuple[int, int] | None, exemplars: Sequence[int] = ()
) -> list[int]:
    """The slices to predict: `wanted` (first and last, inclusive; None for all) but the exemplars."""
    count = volume.geometry.shape[axis]
    first, last = wanted or (0, count - 1)
    if not 0 <= first <= last < count:
        raise BadInputError(
            f"The slice range {first}:{last} does not fit the volume.", f"Choose within 0:{count - 1}, first to last."
        )
    return [index for index in range(first, last + 1) if index not in set(exemplars)]


def _painted_beyond(annotation: Annotation, framing: Framing) -> bool:
    """Whether a painted pixel lies outside the framing's crop."""
    maps = (annotation.classes(index) for index in annotation.painted)
    return any(int((classes > 0).sum()) > int((framing.cut(classes) > 0).sum()) for classes in maps)
