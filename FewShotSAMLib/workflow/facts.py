"""The facts of the chosen volume and segmentation, computed without blocking the user interface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.facts import Facts, volume_facts
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.core.plausibility import (
    SegmentPainting,
    fills_volume,
    fills_volume_error,
    nothing_to_predict,
    paint_warnings,
)
from FewShotSAMLib.core.segmentation import grid_offset_warnings
from FewShotSAMLib.core.volume import Volume, volume_of
from FewShotSAMLib.workflow.painted_slices import PaintedSlice, PaintedState
from FewShotSAMLib.workflow.scene import Scene, SceneVolume, Target


class InputFacts:
    """The facts of the chosen volume and segmentation, which `core.facts` puts into words.

    What needs all voxels is computed in a thread; `look` never waits for it.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._executor = ThreadPoolExecutor(1, "fewshotsam-facts")
        self._stamp: tuple[str, int, int] | None = None
        self._found: Future[Facts] | None = None
        self._is_delivered = True

    def poll(self) -> bool:
        """Whether the next `look` will return more than the last; True once."""
        if self._is_delivered or self._found is None or not self._found.done():
            return False
        self._is_delivered = True
        return True

    def look(self, target: Target | None, found: PaintedState, read: Volume | None = None) -> Facts | None:
        """The facts; None while they are not known, and if there is no usable volume.

        found: the painted slices of the segmentation. read: the volume as it was read from its file, if that holds
        more than the scene knows.
        """
        if target is None:
            self._stamp = self._found = None
            return None
        try:
            volume = self._scene.volume(target.volume)
            self._begin(volume, read)
            if self._found is None or not self._found.done():
                return None
            facts = self._found.result()
            segments = self._scene.segments(target)
        except FewShotSAMError:  # whoever tries to use it reports why it cannot be used
            return None
        names = {each.id: each.name for each in segments}
        apart = grid_offset_warnings(max((each.apart for each in segments), default=0.0))
        warnings = [*facts["warnings"], *apart, *_warnings_of_paint(names, found, volume.geometry)]
        return facts | _painted(names, found.slices) | _along(volume, found.axis) | {"warnings": warnings}

    def close(self) -> None:
        """End the thread once it has finished its current volume; `look` must not be called again."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _begin(self, volume: SceneVolume, read: Volume | None) -> None:
        stamp = (volume.id, volume.version, volume.voxels.nbytes)
        if stamp != self._stamp:
            self._stamp, self._is_delivered = stamp, False
            self._found = self._executor.submit(_of_volume, volume, read)


def _of_volume(volume: SceneVolume, read: Volume | None) -> Facts:
    voxels = volume.voxels[..., :3] if volume.voxels.ndim == 4 else volume.voxels
    known = read or replace(volume_of(voxels, volume.geometry), modality=volume.modality)
    return volume_facts(known) | {"name": volume.name}


def _painted(names: dict[str, str], painted: Sequence[PaintedSlice]) -> Facts:
    """The segments, with the ticked slices on which each is painted, and those on which it is unknown."""
    ticked = [each for each in painted if each.ticked]
    return {
        "segments": [
            {
                "name": name,
                "painted_slices": [each.index for each in ticked if segment in each.segment_ids],
                "unknown_slices": [each.index for each in ticked if segment in each.unknown_ids],
            }
            for segment, name in names.items()
        ]
    }


def _warnings_of_paint(names: dict[str, str], found: PaintedState, geometry: Geometry) -> list[str]:
    """The warnings that `core.facts` gives for the same painted slices in a file."""
    if found.axis is None:
        return [found.problem] if found.problem else []
    ticked, count = [each for each in found.slices if each.ticked], geometry.shape[found.axis]
    if fills_volume(found.fills, math.prod(geometry.size)):
        return [*found.warnings, fills_volume_error().message]
    if sum((each.empty or bool(each.segment_ids)) and not each.unknown_ids for each in ticked) == count > 1:
        return [*found.warnings, nothing_to_predict(count).message]
    paint = [
        SegmentPainting(
            name,
            [each.index for each in ticked if segment in each.odd_ids],
            [each.index for each in ticked if segment in each.unknown_ids],
        )
        for segment, name in names.items()
    ]
    return [*found.warnings, *paint_warnings([each.index for each in ticked if each.segment_ids], paint)]


def _along(volume: SceneVolume, axis: int | None) -> Facts:
    return {"axis": axis} if axis is None else {"axis": axis, "plane": slice_plane(volume.geometry, axis).name}
