"""Committing does not touch what painting may not touch: masks, overwrite modes, hidden segments, intensities."""

from dataclasses import dataclass

import numpy as np
import pytest
import slicer
from harness.scene import RAS, EditorWidget, add_segmentation, add_volume, labelmap, paint, stored, voxels
from vtk.util.numpy_support import vtk_to_numpy

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.commit import _cropped
from FewShotSAMLib.mrml.masking import Masking
from FewShotSAMLib.workflow.scene import Target

GRID = Geometry((16, 14, 10), (0.8, 0.8, 3.0), (5, -7, 11))
NODE, EDITOR = slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSegmentEditorNode


def box(k: slice, j: slice, i: slice) -> np.ndarray:
    """(K, J, I) bool: a block of voxels."""
    mask = np.zeros(GRID.shape, bool)
    mask[k, j, i] = True
    return mask


EVERY = slice(None)
OTHER = box(EVERY, slice(0, 7), slice(8, 14))
HIDDEN = box(EVERY, slice(7, 12), slice(8, 14))
PAINTED = box(slice(2, 3), slice(3, 9), slice(3, 11))
RESULT = box(EVERY, slice(3, 9), slice(3, 11))  # reaches into both others
INDICES = [0, 1, 3, 4, 5, 8]
ON = np.isin(np.arange(GRID.shape[0]), INDICES)[:, None, None]


@dataclass
class Setting:
    """Segment A to commit to, and two others, one of them hidden; all share a labelmap."""

    node: slicer.vtkMRMLSegmentationNode
    widget: EditorWidget
    adapter: MRMLScene
    target: Target
    image: np.ndarray

    @property
    def editor(self) -> slicer.vtkMRMLSegmentEditorNode:
        return self.widget.mrmlSegmentEditorNode()

    def commit(self) -> None:
        self.adapter.commit(self.target, ["A"], RESULT.view(np.uint8), 0, INDICES)

    def voxels(self, name: str) -> np.ndarray:
        return voxels(self.node, name, GRID)


@pytest.fixture
def setting(scene: slicer.vtkMRMLScene) -> Setting:
    image = np.broadcast_to(np.arange(GRID.shape[2], dtype=np.int16) * 10, GRID.shape).copy()
    volume = add_volume(scene, image, GRID)
    node = add_segmentation(scene, volume, ["A", "other", "hidden"])
    for name, mask in (("other", OTHER), ("hidden", HIDDEN), ("A", PAINTED & ~OTHER & ~HIDDEN)):
        paint(node, name, mask, GRID)
    node.GetDisplayNode().SetSegmentVisibility("hidden", False)
    widget = EditorWidget(scene, node)
    widget.mrmlSegmentEditorNode().SetMaskSegmentID("other")
    widget.mrmlSegmentEditorNode().SetSelectedSegmentID("hidden")  # the user's selection is not the target
    return Setting(node, widget, MRMLScene(scene, widget), Target(volume.GetID(), node.GetID()), image)


ALLOWED = {
    "Everywhere": np.ones(GRID.shape, bool),
    "InsideAllSegments": OTHER | HIDDEN,
    "InsideVisibleSegments": OTHER,
    "OutsideAllSegments": ~(OTHER | HIDDEN),
    "OutsideVisibleSegments": ~OTHER,
    "InsideSingleSegment": OTHER,
}
MASK_MODES = {name: getattr(NODE, f"EditAllowed{name}") for name in ALLOWED}
OVERWRITTEN = {
    EDITOR.OverwriteAllSegments: {"other", "hidden"},
    EDITOR.OverwriteVisibleSegments: {"other"},
    EDITOR.OverwriteNone: set(),
}


@pytest.mark.parametrize("overwrite", OVERWRITTEN)
@pytest.mark.parametrize("mode", ALLOWED)
def test_masking_and_overwriting_as_for_painting(setting: Setting, mode: str, overwrite: int) -> None:
    setting.editor.SetMaskMode(MASK_MODES[mode])
    setting.editor.SetOverwriteMode(overwrite)
    before = stored(setting.node)
    at_first = setting.voxels("A")
    setting.commit()
    written = RESULT & ON & ALLOWED[mode]
    assert np.array_equal(setting.voxels("A"), at_first | written)
    for name, mask in (("other", OTHER), ("hidden", HIDDEN)):
        expected = mask & ~written if name in OVERWRITTEN[overwrite] else mask
        assert np.array_equal(setting.voxels(name), expected), name
    assert setting.editor.GetSelectedSegmentID() == "hidden" and setting.editor.GetMaskMode() == MASK_MODES[mode]
    setting.widget.undo()
    assert stored(setting.node) == before


@pytest.mark.parametrize("mode", ALLOWED)
def test_the_mask_is_slicers_own(setting: Setting, mode: str) -> None:
    """Compared with vtkMRMLSegmentationNode::GenerateEditMask, whose mask is 0 where editing is allowed."""
    setting.editor.SetMaskMode(MASK_MODES[mode])
    settings = setting.adapter._editor.settings(setting.node)
    masking = Masking(settings, setting.adapter.segments(setting.target), setting.image)
    reference, mask = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = setting.node.GetSegmentation().GetConversionParameter(parameter)
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, reference, False)
    assert setting.node.GenerateEditMask(mask, MASK_MODES[mode], reference, "A", "other")
    forbidden = vtk_to_numpy(mask.GetPointData().GetScalars()).reshape(GRID.shape) > 0
    found = np.stack([masking.paintable("A", k) for k in range(GRID.shape[0])])
    if mode.startswith("Inside") and mode != "InsideSingleSegment":
        found |= setting.voxels("A")  # here "all" includes the segment itself
    assert np.array_equal(found, ~forbidden)


def test_intensities_outside_the_range_stay(setting: Setting) -> None:
    setting.editor.SetSourceVolumeIntensityMask(True)
    setting.editor.SetSourceVolumeIntensityMaskRange(40, 60)
    at_first = setting.voxels("A")
    setting.commit()
    inside = (setting.image >= 40) & (setting.image <= 60)
    assert np.array_equal(setting.voxels("A"), at_first | (RESULT & ON & inside))


def test_without_an_editor_no_other_segment_is_overwritten(scene: slicer.vtkMRMLScene) -> None:
    volume = add_volume(scene, np.ones(GRID.shape, np.int16), GRID)
    node = add_segmentation(scene, volume, ["A", "other"])
    paint(node, "other", OTHER, GRID)
    MRMLScene(scene).commit(Target(volume.GetID(), node.GetID()), ["A"], RESULT.view(np.uint8), 0, INDICES)
    assert np.array_equal(voxels(node, "other", GRID), OTHER)
    assert np.array_equal(voxels(node, "A", GRID), RESULT & ON)


def test_settings_of_an_editor_elsewhere_in_the_scene_count(setting: Setting, scene: slicer.vtkMRMLScene) -> None:
    setting.editor.SetMaskMode(MASK_MODES["OutsideAllSegments"])
    MRMLScene(scene).commit(setting.target, ["A"], RESULT.view(np.uint8), 0, INDICES)
    assert np.array_equal(setting.voxels("other"), OTHER) and np.array_equal(setting.voxels("hidden"), HIDDEN)


def test_what_was_taken_from_the_mask_segment_goes_back(setting: Setting) -> None:
    """Inside one segment, which is overwritten: a second, smaller result restores the rest, as the eraser does."""
    setting.editor.SetMaskMode(MASK_MODES["InsideSingleSegment"])
    setting.editor.SetOverwriteMode(EDITOR.OverwriteAllSegments)
    setting.commit()
    smaller = RESULT & (np.arange(GRID.shape[1]) < 5)[:, None]
    setting.adapter.commit(setting.target, ["A"], smaller.view(np.uint8), 0, INDICES)
    written = smaller & ON & OTHER
    assert np.array_equal(setting.voxels("A"), (PAINTED & ~OTHER & ~HIDDEN) | written)
    assert np.array_equal(setting.voxels("other"), OTHER & ~written)


def test_segments_that_swap_places_inside_segments_only(setting: Setting) -> None:
    """Erasing first must not shrink the editable area before the other segment is painted there."""
    setting.editor.SetMaskMode(MASK_MODES["InsideAllSegments"])
    setting.editor.SetOverwriteMode(EDITOR.OverwriteAllSegments)
    swapped = np.where(OTHER, 2, np.where(HIDDEN, 1, 0)).astype(np.uint8)
    setting.adapter.commit(setting.target, ["other", "hidden"], swapped, 0, INDICES)
    assert np.array_equal(setting.voxels("other")[INDICES], HIDDEN[INDICES])
    assert np.array_equal(setting.voxels("hidden")[INDICES], OTHER[INDICES])


def test_merging_by_maximum_would_have_hit_the_neighbour(setting: Setting) -> None:
    """The trap that commit avoids: MODE_MERGE_MAX on a shared labelmap succeeds but changes another segment."""
    before = {name: setting.voxels(name) for name in ("A", "other", "hidden")}
    setting.editor.SetMaskMode(MASK_MODES["OutsideAllSegments"])
    free = RESULT & ON & ~OTHER & ~HIDDEN
    setting.adapter.commit(setting.target, ["hidden"], free.view(np.uint8), 0, INDICES)
    assert np.array_equal(setting.voxels("other"), before["other"]) and np.array_equal(setting.voxels("A"), before["A"])
    setting.widget.undo()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = labelmap(free, RAS @ GRID.index_to_physical())
    assert logic.SetBinaryLabelmapToSegment(
        image, setting.node, "hidden", logic.MODE_MERGE_MAX, image.GetExtent(), False, ["A", "other"]
    )
    assert not np.array_equal(setting.voxels("A"), before["A"])


def test_what_is_to_be_painted_holds_no_whole_volume_in_memory() -> None:
    mask = box(slice(2, 4), slice(3, 9), slice(5, 6))
    found = _cropped(mask)
    assert found is not None
    assert found.first == (2, 3, 5) and found.mask.shape == (2, 6, 1) and found.mask.all()
    assert not np.shares_memory(found.mask, mask)
