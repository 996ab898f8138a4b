"""Where the user's masking settings allow a segment to change: by segments, hidden ones too, and by intensity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from FewShotSAMLib.mrml.editor import OVERWRITE_NONE, EditSettings
from FewShotSAMLib.workflow.scene import SceneSegment

_NODE = slicer.vtkMRMLSegmentationNode
_INSIDE_SINGLE = _NODE.EditAllowedInsideSingleSegment
_INSIDE_MANY = (_NODE.EditAllowedInsideAllSegments, _NODE.EditAllowedInsideVisibleSegments)
_VISIBLE_ONLY = (_NODE.EditAllowedInsideVisibleSegments, _NODE.EditAllowedOutsideVisibleSegments)


class Masking:
    """Computes, one k plane at a time, where segments may change, as Slicer's GenerateEditMask and eraser would.

    voxels: the volume (K, J, I), or (K, J, I, C), of which the first component counts, as in Slicer.
    """

    def __init__(self, settings: EditSettings, segments: Sequence[SceneSegment], voxels: np.ndarray) -> None:
        self._settings = settings
        self._mode = settings.maskMode
        self._segments = segments
        self._voxels = voxels if voxels.ndim == 3 else voxels[..., 0]
        visibleOnly = self._mode in _VISIBLE_ONLY
        self._members = {each.id for each in segments if each.visible or not visibleOnly}
        if self._mode == _INSIDE_SINGLE:
            self._members = {settings.maskSegmentId}

    @property
    def shrinksByErasing(self) -> bool:
        """Whether erasing a segment shrinks the editable area, which must then be computed beforehand."""
        return self._mode in _INSIDE_MANY

    def receiverOf(self, segmentId: str) -> str:
        """The segment that receives voxels erased from another, "" for none.

        Painting inside a segment and overwriting it takes voxels from it; erasing gives them back, as in Slicer.
        """
        single = self._settings.maskSegmentId if self._mode == _INSIDE_SINGLE else ""
        return "" if self._settings.overwriteMode == OVERWRITE_NONE or single == segmentId else single

    def paintable(self, segmentId: str, k: int) -> np.ndarray:
        """(J, I) bool: where segment `segmentId` may be painted on plane `k`."""
        return self._bySegments(segmentId, k) & self._byIntensity(k)

    def erasable(self, segmentId: str, k: int) -> np.ndarray:
        """(J, I) bool: where segment `segmentId` may be erased on plane `k`."""
        return self._byIntensity(k) if self.receiverOf(segmentId) else self.paintable(segmentId, k)

    def _byIntensity(self, k: int) -> np.ndarray:
        plane = self._voxels[k]
        if self._settings.intensityRange is None:
            return np.ones(plane.shape, bool)
        low, high = self._settings.intensityRange
        return (plane >= low) & (plane <= high)

    def _bySegments(self, segmentId: str, k: int) -> np.ndarray:
        covered = np.zeros(self._voxels.shape[1:], bool)
        if self._mode == _NODE.EditAllowedEverywhere:
            return ~covered
        inside = self._mode == _INSIDE_SINGLE or self._mode in _INSIDE_MANY
        for segment in self._segments:
            if segment.id in self._members and (inside or segment.id != segmentId):
                drawOn(covered, segment, k)
        return covered if inside else ~covered


def drawOn(plane: np.ndarray, segment: SceneSegment, k: int) -> bool:
    """Set the pixels of `plane` (J, I) that a segment covers on slice k of the volume; False if it stores none."""
    first, j, i = segment.offset
    depth, rows, columns = segment.labels.shape
    if not first <= k < first + depth:
        return False
    plane[j : j + rows, i : i + columns] |= segment.labels[k - first] == segment.label_value
    return True
