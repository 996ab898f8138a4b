"""Writes results into the user's segments as painting would, through Slicer's Segment Editor logic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import SLIGHT, Geometry, LatticeMap
from FewShotSAMLib.mrml.editor import Editor
from FewShotSAMLib.mrml.grids import geometryOfMatrix, imageOfArray, imageToRas, rasMatrix
from FewShotSAMLib.mrml.masking import Masking, drawOn
from FewShotSAMLib.mrml.segments import chosenSegments, labelmapOf, sceneSegments
from FewShotSAMLib.mrml.surfaces import SurfaceUpdate
from FewShotSAMLib.workflow.scene import SceneSegment, SceneVolume


@dataclass(frozen=True, eq=False)
class _Voxels:
    """A box of the volume in which the voxels to change are 1; `first`: index (k, j, i) of its first voxel."""

    mask: np.ndarray
    first: tuple[int, int, int]


@dataclass(frozen=True)
class SliceSelection:
    """The slices `indices` along `axis`, without those that are `spared` for a segment (by its id)."""

    axis: int
    indices: Sequence[int]
    spared: Mapping[str, Collection[int]]

    def of(self, segmentId: str) -> list[int]:
        """The slices to write for a segment."""
        spared = set(self.spared.get(segmentId, ()))
        return [int(index) for index in self.indices if index not in spared]


class Commit:
    """Writes classes into segments on the slices of `selection`, and on no others.

    toVolume: see `segmentationToVolume`; the classes lie on the volume's grid, wherever segmentation and volume are.
    First every segment is erased where it no longer belongs, then all are painted. Each step passes a mask of just the
    voxels to change, so Slicer has nothing to write in the rest of a labelmap. Voxels that the user's masking protects
    are left out beforehand: the logic would compute them for the whole volume at every step, and the answer could
    change between erasing and painting.
    """

    def __init__(
        self,
        editor: Editor,
        volume: SceneVolume,
        node: slicer.vtkMRMLSegmentationNode,
        toVolume: np.ndarray,
        selection: SliceSelection,
    ) -> None:
        self._editor, self._volume, self._node, self._toVolume = editor, volume, node, toVolume
        self._settings = editor.settings(node)
        self._selection = selection

    def _visited(self, segmentId: str) -> tuple[Sequence[int], np.ndarray]:
        """The k planes to visit, and the pixels to change in them; slices along j and i are lines of each k plane."""
        axis, indices, shape = self._selection.axis, self._selection.of(segmentId), self._volume.geometry.shape
        if axis == 0:
            return sorted(set(indices)), np.ones(shape[1:], bool)
        pixels = np.zeros(shape[1:], bool)
        pixels[(slice(None),) * (axis - 1) + (indices,)] = True
        return range(shape[0]), pixels

    def run(self, ids: Sequence[str], classes: np.ndarray) -> None:
        """Write classes 1, 2 ... of `classes` (K, J, I) into the segments `ids`, as one step of Undo.

        Raises BadInputError if a segment no longer exists, or the segmentation does not fit the volume.
        """
        chosenSegments(self._segments(), ids)
        masking = self._masking()
        self._editor.saveState(self._node)
        wasModifying = self._node.StartModify()  # so that views are rendered once
        surfaces = SurfaceUpdate(self._node.GetSegmentation())
        try:
            painted = self._painted(ids, classes, masking) if masking.shrinksByErasing else None
            surfaces.drop({*ids, *filter(None, map(masking.receiverOf, ids))})
            self._erase(ids, classes, masking)
            painted = painted or self._painted(ids, classes, self._masking())
            if surfaces.isNeeded:
                surfaces.drop(self._overpainted(painted))
            self._paint(ids, painted)
        finally:
            surfaces.finish()
            self._node.EndModify(wasModifying)

    def _overpainted(self, painted: Sequence[_Voxels | None]) -> list[str]:
        """Segments that have voxels where others will be painted."""
        segments = self._segments()
        return [each.id for each in segments if any(voxels and _meet(each, voxels) for voxels in painted)]

    def _masking(self) -> Masking:
        return Masking(self._settings, self._segments(), self._volume.voxels)

    def _erase(self, ids: Sequence[str], classes: np.ndarray, masking: Masking) -> None:
        for number, segmentId in enumerate(ids, start=1):
            erased = self._erased(self._segment(segmentId), number, classes, masking)
            if erased is None:
                continue
            self._editor.remove(self._node, segmentId, self._labelmap(erased, segmentId))
            receiver = masking.receiverOf(segmentId)
            if receiver:
                self._editor.add(self._node, receiver, self._labelmap(erased, receiver), self._settings.overwriteMode)

    def _paint(self, ids: Sequence[str], painted: Sequence[_Voxels | None]) -> None:
        for segmentId, voxels in zip(ids, painted, strict=True):
            if voxels is not None:
                self._editor.add(self._node, segmentId, self._labelmap(voxels, segmentId), self._settings.overwriteMode)

    def _segments(self) -> list[SceneSegment]:
        return sceneSegments(self._node, self._volume.geometry, self._toVolume)

    def _segment(self, segmentId: str) -> SceneSegment:
        # Found again each time: Slicer may have moved it to another labelmap.
        return next(each for each in self._segments() if each.id == segmentId)

    def _erased(self, segment: SceneSegment, number: int, classes: np.ndarray, masking: Masking) -> _Voxels | None:
        """The voxels of a segment that are no longer of class `number`, and may be erased."""
        mask = np.zeros(self._volume.geometry.shape, bool)
        planes, pixels = self._visited(segment.id)
        for k in planes:
            if drawOn(mask[k], segment, k):
                mask[k] &= pixels & (classes[k] != number)
                mask[k] &= masking.erasable(segment.id, k)
        return _cropped(mask)

    def _painted(self, ids: Sequence[str], classes: np.ndarray, masking: Masking) -> list[_Voxels | None]:
        """The voxels where each segment is to be painted, may be painted, and is not painted yet."""
        found, segments = [], self._segments()
        for number, own in enumerate(chosenSegments(segments, ids), start=1):
            mask = np.zeros(self._volume.geometry.shape, bool)
            planes, pixels = self._visited(own.id)
            others = [each for each in segments if each.owner is not own.owner]
            for k in planes:
                np.logical_and(classes[k] == number, pixels, out=mask[k])
                if mask[k].any():
                    mask[k] &= masking.paintable(own.id, k)
                    mask[k] &= _lacks(own, others, k, mask[k].shape)
            found.append(_cropped(mask))
        return found

    def _labelmap(self, voxels: _Voxels, segmentId: str) -> slicer.vtkOrientedImageData:
        """The voxels as a labelmap on the segment's own lattice; Slicer would resample the segment to any other."""
        volumeToRas = rasMatrix(self._volume.geometry)  # the volume's RAS; latticeToRas: the segmentation's
        latticeToRas = _latticeOf(self._node, segmentId)
        k, j, i = voxels.first
        depth, rows, columns = voxels.mask.shape
        box = geometryOfMatrix(volumeToRas, (columns, rows, depth), (i, j, k))
        lattice = None if latticeToRas is None else _latticeMap(self._toVolume @ latticeToRas, box)
        # Slicer adopts the labelmap's scalar type, which must be able to hold the segment's label value.
        value = self._node.GetSegmentation().GetSegment(segmentId).GetLabelValue()
        mask = voxels.mask.view(np.uint8) if value <= np.iinfo(np.uint8).max else voxels.mask.astype(np.uint16)
        if lattice is None or latticeToRas is None:
            return imageOfArray(mask, np.linalg.solve(self._toVolume, volumeToRas), voxels.first)
        return imageOfArray(lattice.turn(mask), latticeToRas, lattice.first_index(box.size))


def _lacks(segment: SceneSegment, others: Sequence[SceneSegment], k: int, shape: tuple[int, ...]) -> np.ndarray:
    """(J, I) bool: pixels of a plane that a segment does not hold, or shares with others."""
    held, shared = np.zeros(shape, bool), np.zeros(shape, bool)
    drawOn(held, segment, k)
    for each in others:
        drawOn(shared, each, k)
    return ~held | shared


def _meet(segment: SceneSegment, voxels: _Voxels) -> bool:
    """Whether a segment holds any of these voxels."""
    lows = [max(pair) for pair in zip(segment.offset, voxels.first, strict=True)]
    shapes = zip(segment.offset, segment.labels.shape, voxels.first, voxels.mask.shape, strict=True)
    highs = [min(offset + n, first + m) for offset, n, first, m in shapes]
    if any(low >= high for low, high in zip(lows, highs, strict=True)):
        return False
    labels, mask = (
        array[tuple(slice(low - o, high - o) for low, high, o in zip(lows, highs, start, strict=True))]
        for array, start in ((segment.labels, segment.offset), (voxels.mask, voxels.first))
    )
    return bool(((labels == segment.label_value) & mask).any())


def _latticeMap(latticeToRas: np.ndarray, box: Geometry) -> LatticeMap | None:
    """How `box` lies on a lattice, None if it does not."""
    try:
        lattice = geometryOfMatrix(latticeToRas, (1, 1, 1))
    except BadInputError:  # axes that are not at right angles to the volume's
        return None
    return lattice.lattice_map(box, SLIGHT)


def _latticeOf(node: slicer.vtkMRMLSegmentationNode, segmentId: str) -> np.ndarray | None:
    """Index-to-RAS array of a segment's labelmap, or of the one that an empty segment will get; None if undecided."""
    image = labelmapOf(node, segmentId)
    if image is not None:
        return imageToRas(image)
    converter = slicer.vtkSegmentationConverter
    text = node.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    reference = slicer.vtkOrientedImageData()
    if not text or not converter.DeserializeImageGeometry(text, reference, False):
        return None
    return imageToRas(reference)


def _cropped(mask: np.ndarray) -> _Voxels | None:
    """A copy of the smallest box of `mask` (K, J, I) bool that holds all its voxels; None if there are none.

    A view would keep the whole mask alive, one of the volume's size for each segment.
    """
    planes = np.flatnonzero([plane.any() for plane in mask])
    if not len(planes):
        return None
    flat = np.logical_or.reduce(mask[planes[0] : planes[-1] + 1], axis=0)
    rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    k, j, i = int(planes[0]), int(rows[0]), int(columns[0])
    return _Voxels(mask[k : planes[-1] + 1, j : rows[-1] + 1, i : columns[-1] + 1].copy(), (k, j, i))
