"""Writing into segments next to the embedded Segment Editor: its settings are honoured once and left unchanged."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import qt
import slicer
from harness.scene import add_segmentation, add_volume, paint, voxels

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.widgets.segment_editor import SegmentEditor
from FewShotSAMLib.workflow.scene import Target

GRID = Geometry((16, 14, 10), (0.8, 0.8, 3.0), (5, -7, 11))
INDICES = [1, 2, 3, 6]
ON = np.isin(np.arange(10), INDICES)[:, None, None]
NODE, EDITOR = slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSegmentEditorNode


def block(j: slice, i: slice) -> np.ndarray:
    """(K, J, I) bool: the same rectangle on all slices."""
    mask = np.zeros(GRID.shape, bool)
    mask[:, j, i] = True
    return mask


FIRST, SECOND = block(slice(2, 8), slice(2, 8)), block(slice(8, 12), slice(2, 8))


@dataclass
class Embedded:
    """Two segments side by side, in the panel's editor; the user selected the second."""

    node: Any
    user: Any
    scene: MRMLScene
    target: Target

    def voxels(self, name: str) -> np.ndarray:
        return voxels(self.node, name, GRID)


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    frame = qt.QWidget()
    frame.setLayout(qt.QVBoxLayout())
    editor = SegmentEditor(frame.layout())
    volume = add_volume(slicer.mrmlScene, np.zeros(GRID.shape, np.int16), GRID)
    node = add_segmentation(slicer.mrmlScene, volume, ["first", "second"])
    for name, mask in (("first", FIRST), ("second", SECOND)):
        paint(node, name, mask, GRID)
    editor.setInputs(volume.GetID(), node.GetID(), show=False)
    user = editor.widget.mrmlSegmentEditorNode()
    user.SetSelectedSegmentID("second")
    scene = MRMLScene(segmentEditor=editor.widget)
    yield Embedded(node, user, scene, Target(volume.GetID(), node.GetID()))
    editor.close()


@pytest.mark.parametrize("mode", ["OutsideAllSegments", "OutsideVisibleSegments"])
def test_both_segments_are_written_outside_segments_only(embedded: Embedded, mode: str) -> None:
    """The mask applies to the segment that is written, not to the one that is selected in the table."""
    embedded.user.SetMaskMode(getattr(NODE, f"EditAllowed{mode}"))
    smaller = np.where(
        FIRST & block(slice(4, 6), slice(4, 6)), 1, np.where(SECOND & block(slice(9, 10), slice(3, 5)), 2, 0)
    )
    embedded.scene.commit(embedded.target, ["first", "second"], smaller.astype(np.uint8), 0, INDICES)
    assert np.array_equal(embedded.voxels("first"), np.where(ON, smaller == 1, FIRST))
    assert np.array_equal(embedded.voxels("second"), np.where(ON, smaller == 2, SECOND))


@pytest.mark.parametrize("mode", ["OverwriteNone", "OverwriteVisibleSegments"])
def test_the_users_settings_are_left_as_they_are(embedded: Embedded, mode: str) -> None:
    """Otherwise the next stroke of a user who allows overlap would cut other segments."""
    chosen = getattr(EDITOR, mode)
    embedded.user.SetOverwriteMode(chosen)
    embedded.scene.clear_slice(embedded.target, ["first"], 0, 3)
    assert not embedded.voxels("first")[3].any()
    embedded.scene.commit(embedded.target, ["first"], FIRST.view(np.uint8), 0, INDICES)
    assert embedded.user.GetOverwriteMode() == chosen
    assert embedded.user.GetSelectedSegmentID() == "second"
