"""What the workflow needs of its host application: the scene of 3D Slicer, or of the browser app with the same classes.

`FewShotSAMLib.mrml.MRMLScene` implements it. Array axes are 0 = k, 1 = j, 2 = i throughout, geometry is LPS in mm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segmentation


@dataclass(frozen=True, eq=False)
class SceneVolume:
    """A volume in the scene: `voxels` is a view (K, J, I), or (K, J, I, 3 or 4) for colours, never a copy.

    `owner` keeps the memory of the view alive while another thread reads it; `version` changes whenever the voxels do.
    window: the values that views show as black and white, None if not chosen. modality: DICOM's, "" if the scene does
    not know it.
    """

    id: str
    name: str
    voxels: np.ndarray
    geometry: Geometry
    owner: Any = None
    version: int = 0
    window: tuple[float, float] | None = None
    modality: str = ""


@dataclass(frozen=True, eq=False)
class SceneSegment:
    """A segment in the scene, on the volume's grid: the voxels of `labels` that equal `label_value`.

    labels: view (k, j, i) of the part that is stored; several segments may share it, and it may have no voxel at all.
    offset: index (k, j, i) in the volume of its first voxel; the part lies within the volume. apart: fraction of a
    voxel by which the grid that it is stored on is off the volume's.
    """

    id: str
    name: str
    color: tuple[float, float, float]
    labels: np.ndarray
    offset: tuple[int, int, int]
    label_value: int
    visible: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: Any = None
    apart: float = 0.0


@dataclass(frozen=True)
class Target:
    """Node ids of the volume to segment and of the segmentation that is painted on."""

    volume: str
    segmentation: str


class ScenePreview(Protocol):
    """A separate segmentation that shows results before they are applied; the user's is not touched."""

    @property
    def is_there(self) -> bool:
        """Whether it is still in the scene, where users may delete it."""

    def show(self, classes: np.ndarray, axis: int, indices: Sequence[int]) -> None:
        """Add slices as they arrive. classes: (n, rows, columns) uint8, 0 nothing, 1 to C the preview's segments."""

    def set_opacity(self, opacity: float) -> None:
        """Set the opacity in the slice views and in 3D, from 0 (invisible) to 1 (opaque)."""

    def set_shown_in_3d(self, shown: bool) -> None:
        """Create or remove the closed surface."""

    def remove(self) -> None:
        """Remove it from the scene; does nothing if the scene was closed meanwhile."""


class Scene(Protocol):
    """The scene with its nodes, addressed by their ids. All calls are made in the main thread."""

    def exists(self, node_id: str) -> bool:
        """Whether the node is (still) in the scene."""

    def volume(self, volume_id: str) -> SceneVolume:
        """The volume; raises BadInputError if it has no voxels, is 4D, or no other program could read it either."""

    def segments(self, target: Target) -> list[SceneSegment]:
        """All segments in their order, hidden ones too.

        Raises BadInputError if the segmentation's grid is not the volume's (it may be shifted or cropped), or if either
        node is under a nonlinear transform.
        """

    def create_segmentation(self, volume_id: str) -> str:
        """Create a segmentation with one empty segment, in the volume's geometry and under its transform; its id."""

    def commit(
        self,
        target: Target,
        segment_ids: Sequence[str],
        classes: np.ndarray,
        axis: int,
        indices: Sequence[int],
        spared: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        """Write results into segments on the slices `indices` along `axis`, as one step of Undo.

        classes: (K, J, I) uint8, 1 to C for `segment_ids` in their order; read on `indices` only, and nothing else is
        changed. spared: by segment id, slices on which that segment stays unchanged. Masking, overwrite mode and other
        segments are honoured as for painting.
        Raises BadInputError if a node or segment no longer exists.
        """

    def clear_slice(self, target: Target, segment_ids: Sequence[str], axis: int, index: int) -> None:
        """Erase segments on one slice, as one step of Undo."""

    def open_preview(self, target: Target, segment_ids: Sequence[str]) -> ScenePreview:
        """A preview with the names and colours of these segments."""

    def add_segmentation(self, volume_id: str, segmentation: Segmentation, name: str) -> str:
        """Add a finished segmentation of a volume as a new node or, if only one can be shown, to that one; returns the
        node's id."""

    def restore_segmentation(self, target: Target, segmentation: Segmentation, name: str) -> str:
        """Restore what was painted on the volume of `target`, to be painted on again, with the same segment ids if they
        are free; returns the id of its node. Raises BadInputError if it lies on another grid."""

    def note(self, segmentation_id: str) -> str:
        """What `set_note` stored, "" at first."""

    def set_note(self, segmentation_id: str, text: str) -> None:
        """Store a text with the segmentation, so that it is saved with the scene."""

    def export(self, target: Target, segment_ids: Sequence[str], path: Path) -> list[str]:
        """Write segments on the volume's full geometry: `.seg.nrrd`, or a label map as `.nrrd` or `.nii.gz`.

        Label values, names, colours and terminology are kept. Never leaves a partial file; returns warnings. Raises
        BadInputError.
        """


def missing_nodes(scene: Scene, target: Target | None) -> list[str]:
    """The parts of the target that are no longer in the scene: "volume", "segmentation"."""
    return [kind for kind, node in vars(target).items() if not scene.exists(node)] if target else []


def export_all(scene: Scene, target: Target, path: Path) -> list[str]:
    """Write all segments, hidden ones too: a temporarily hidden segment must not be missing from a file.

    Returns warnings; raises BadInputError.
    """
    return scene.export(target, [segment.id for segment in scene.segments(target)], path)
