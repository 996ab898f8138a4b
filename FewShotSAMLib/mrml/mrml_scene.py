"""The workflow's Scene, implemented with MRML nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import slicer

from FewShotSAMLib.core.segmentation import Segmentation
from FewShotSAMLib.mrml.commit import Commit, SliceSelection
from FewShotSAMLib.mrml.create import addSegmentation, createSegmentation, fillSegmentation
from FewShotSAMLib.mrml.editor import Editor, SegmentEditor
from FewShotSAMLib.mrml.export import exportSegments
from FewShotSAMLib.mrml.nodes import readNote, segmentationNode, volumeNode, writeNote
from FewShotSAMLib.mrml.places import segmentationToVolume
from FewShotSAMLib.mrml.preview import SegmentationPreview
from FewShotSAMLib.mrml.segments import chosenSegments, sceneSegments
from FewShotSAMLib.mrml.volumes import sceneVolume, volumeGeometry
from FewShotSAMLib.workflow.scene import SceneSegment, SceneVolume, Target


class MRMLScene:
    """Implements `FewShotSAMLib.workflow.scene.Scene`; see there for arguments and errors.

    scene: the MRML scene; by default the application's.
    segmentEditor: the qMRMLSegmentEditorWidget of the panel. Its masking and overwrite settings are honoured, and its
    Undo button undoes commits. Without one, settings come from the editor node in the scene that has the segmentation
    selected, and `undo` here undoes changes.
    """

    def __init__(self, scene: slicer.vtkMRMLScene | None = None, segmentEditor: SegmentEditor | None = None) -> None:
        self._scene = scene if scene is not None else slicer.mrmlScene
        self._editor = Editor(self._scene, segmentEditor)

    def exists(self, node_id: str) -> bool:
        """Whether the node is (still) in the scene."""
        return bool(node_id) and self._scene.GetNodeByID(node_id) is not None

    def volume(self, volume_id: str) -> SceneVolume:
        """The volume, with its voxels as a view."""
        return sceneVolume(volumeNode(self._scene, volume_id))

    def segments(self, target: Target) -> list[SceneSegment]:
        """All segments in their order, hidden ones too."""
        volume, segmentation, toVolume = self._nodes(target)
        return sceneSegments(segmentation, volumeGeometry(volume), toVolume)

    def create_segmentation(self, volume_id: str) -> str:
        """Create a segmentation with one empty segment in the volume's geometry and under its transform; its id."""
        return createSegmentation(self._scene, volumeNode(self._scene, volume_id)).GetID()

    def commit(
        self,
        target: Target,
        segment_ids: Sequence[str],
        classes: np.ndarray,
        axis: int,
        indices: Sequence[int],
        spared: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        """Write results into segments on the slices `indices` along `axis`, as one step of Undo."""
        volume, segmentation, toVolume = self._nodes(target)
        selection = SliceSelection(axis, tuple(indices), spared or {})
        Commit(self._editor, sceneVolume(volume), segmentation, toVolume, selection).run(segment_ids, classes)

    def clear_slice(self, target: Target, segment_ids: Sequence[str], axis: int, index: int) -> None:
        """Erase segments on one slice, as one step of Undo."""
        volume, _, _ = self._nodes(target)
        nothing = np.broadcast_to(np.uint8(0), volumeGeometry(volume).shape)
        self.commit(target, segment_ids, nothing, axis, [index])

    def undo(self) -> None:
        """Undo the last `commit` or `clear_slice` (with a widget: what its Undo button would undo)."""
        self._editor.undo()

    def open_preview(self, target: Target, segment_ids: Sequence[str]) -> SegmentationPreview:
        """A preview with the names and colours of these segments."""
        volume, _, _ = self._nodes(target)
        return SegmentationPreview(self._scene, volume, chosenSegments(self.segments(target), segment_ids))

    def add_segmentation(self, volume_id: str, segmentation: Segmentation, name: str) -> str:
        """Add a finished segmentation of a volume as a new node; returns its id."""
        return addSegmentation(self._scene, volumeNode(self._scene, volume_id), segmentation, name).GetID()

    def restore_segmentation(self, target: Target, segmentation: Segmentation, name: str) -> str:
        """Restore what was painted: in the target's segmentation if nothing is painted there, else as a new node;
        returns the id of the node."""
        if not self._holdsNothing(target):
            return self.add_segmentation(target.volume, segmentation, name)
        volume, node, _ = self._nodes(target)
        fillSegmentation(node, volume, segmentation)
        return target.segmentation

    def _holdsNothing(self, target: Target) -> bool:
        """Whether the target's segmentation exists, is under the volume's transform, and has no voxels."""
        if not self.exists(target.segmentation):
            return False
        volume, node, _ = self._nodes(target)
        isAlike = node.GetTransformNodeID() == volume.GetTransformNodeID()
        return isAlike and not any((each.labels == each.label_value).any() for each in self.segments(target))

    def note(self, segmentation_id: str) -> str:
        """What `set_note` stored, "" at first."""
        return readNote(segmentationNode(self._scene, segmentation_id))

    def set_note(self, segmentation_id: str, text: str) -> None:
        """Store a text with the segmentation, so that it is saved with the scene."""
        writeNote(segmentationNode(self._scene, segmentation_id), text)

    def export(self, target: Target, segment_ids: Sequence[str], path: Path) -> list[str]:
        """Write segments on the volume's full geometry: `.seg.nrrd`, or a label map; returns warnings."""
        volume, _, _ = self._nodes(target)
        chosen = chosenSegments(self.segments(target), segment_ids)
        return exportSegments(chosen, volume, volumeGeometry(volume), Path(path))

    def _nodes(self, target: Target) -> tuple[slicer.vtkMRMLVolumeNode, slicer.vtkMRMLSegmentationNode, np.ndarray]:
        """Both nodes, and the array that maps the segmentation's coordinates to the volume's.

        Raises BadInputError if a node no longer exists, or is under a nonlinear transform.
        """
        volume = volumeNode(self._scene, target.volume)
        segmentation = segmentationNode(self._scene, target.segmentation)
        return volume, segmentation, segmentationToVolume(volume, segmentation)
