"""Volumes under a grid transform, as Slicer loads DICOM with gantry tilt or irregular spacing."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from harness.places import OBLIQUE, add_in_editor, bend, paint_in_world, points_in_world, points_of, same_places
from harness.scene import RAS, add_segmentation, add_volume, only, paint, voxels

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.harden import hardenTransforms
from FewShotSAMLib.mrml.places import worldMatrix
from FewShotSAMLib.mrml.volumes import volumeGeometry
from FewShotSAMLib.workflow.scene import Target

STRAIGHT = Geometry((30, 28, 20), (1.0, 1.1, 3.0), (-12.5, 30.25, -801.125))
GRIDS = {"straight": STRAIGHT, "oblique": Geometry(STRAIGHT.size, STRAIGHT.spacing, STRAIGHT.origin, OBLIQUE)}
_K = np.arange(20.0)
BENDS = {  # mm along the volume's own axes (i, j, k), for each slice
    "gantry tilt": np.stack([0 * _K, -0.83 * _K, 0 * _K], axis=1),
    "irregular spacing": np.stack([0 * _K, 0 * _K, np.where(_K > 9, 2.3 * (_K - 9), 0.0)], axis=1),
}
BOTH = pytest.mark.parametrize(("grid", "bending"), [(g, b) for g in GRIDS for b in BENDS])


def ball() -> np.ndarray:
    """(K, J, I) bool, in the middle of the volume."""
    k, j, i = np.ogrid[:20, :28, :30]
    return ((k - 9.5) * 3) ** 2 + ((j - 13.5) * 1.1) ** 2 + (i - 14.5) ** 2 < 10**2


def bent(scene: slicer.vtkMRMLScene, grid: str, bending: str) -> slicer.vtkMRMLVolumeNode:
    """A bright ball, under the transform."""
    geometry = GRIDS[grid]
    volume = add_volume(scene, np.where(ball(), 1000, 0).astype(np.int16), geometry, "CT")
    axes = (RAS @ geometry.index_to_physical())[:3, :3] / geometry.spacing
    bend(volume, BENDS[bending] @ axes.T)
    return volume


def bright(scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """(K, J, I) bool: the ball in the volume as it is now."""
    return MRMLScene(scene).volume(volume.GetID()).voxels > 500


def index_to_ras(volume: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return the matrix of a volume under no transform: to the world."""
    assert volume.GetParentTransformNode() is None
    return RAS @ volumeGeometry(volume).index_to_physical()


def check_result(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode, node: slicer.vtkMRMLSegmentationNode, name: str
) -> None:
    """Check that what is committed now lies where the ball is seen, and can be undone."""
    adapter, target = MRMLScene(scene), Target(volume.GetID(), node.GetID())
    before = points_in_world(node, name)
    seen = bright(scene, volume)
    adapter.commit(target, [name], seen.astype(np.uint8), 0, range(len(seen)))
    assert same_places(points_in_world(node, name), points_of(seen, index_to_ras(volume)))
    adapter.undo()
    assert same_places(points_in_world(node, name), before)


@BOTH
def test_it_is_refused_with_what_to_do(scene: slicer.vtkMRMLScene, tmp_path: Path, grid: str, bending: str) -> None:
    """And Slicer is never asked for a matrix that does not exist, which would cause a warning each time."""
    volume = bent(scene, grid, bending)
    node = add_segmentation(scene, volume, ["A"])
    target, adapter = Target(volume.GetID(), node.GetID()), MRMLScene(scene)
    for parent in (None, volume.GetTransformNodeID()):
        node.SetAndObserveTransformNodeID(parent)
        for call in (
            lambda: adapter.segments(target),
            lambda: adapter.commit(target, ["A"], np.zeros(STRAIGHT.shape, np.uint8), 0, [1]),
            lambda: adapter.open_preview(target, ["A"]),
            lambda: adapter.export(target, ["A"], tmp_path / "a.nrrd"),
            lambda: adapter.create_segmentation(volume.GetID()),
        ):
            with pytest.raises(BadInputError, match="nonlinear transform 'acquisition transform'") as caught:
                call()
            assert "Harden transform" in caught.value.hint
    assert worldMatrix(volume) is None and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert adapter.volume(volume.GetID()).voxels.any(), "a model can be applied"


@BOTH
def test_hardened_first_and_segmented_then(scene: slicer.vtkMRMLScene, grid: str, bending: str) -> None:
    volume = bent(scene, grid, bending)
    volume.HardenTransform()  # in the module Data
    node = scene.GetNodeByID(MRMLScene(scene).create_segmentation(volume.GetID()))
    name = node.GetSegmentation().GetNthSegmentID(0)
    seen = bright(scene, volume)
    paint_in_world(node, volume, name, only(seen, 0, [7, 9, 11]), index_to_ras(volume))
    (segment,) = MRMLScene(scene).segments(Target(volume.GetID(), node.GetID()))
    assert sorted({int(k) + segment.offset[0] for k in np.argwhere(segment.labels)[:, 0]}) == [7, 9, 11]
    check_result(scene, volume, node, name)


@BOTH
def test_what_was_painted_before_in_the_segment_editor_stays_where_it_is(
    scene: slicer.vtkMRMLScene, grid: str, bending: str
) -> None:
    """The editor paints in the world, on a grid that hardening can shift by a fraction of a voxel."""
    volume = bent(scene, grid, bending)
    node = add_in_editor(scene, volume, ["A", "empty"])
    to_world = RAS @ GRIDS[grid].index_to_physical()
    drawn = np.zeros(STRAIGHT.shape, bool)
    drawn[[6, 9, 12], 5:12, 4:9] = True
    paint_in_world(node, volume, "A", drawn, to_world)
    before = points_in_world(node, "A")
    hardenTransforms(volume, node)
    after = points_in_world(node, "A")
    assert len(after) == len(before)
    shift = (after.mean(axis=0) - before.mean(axis=0)) @ np.linalg.inv(to_world[:3, :3]).T
    assert np.abs(shift).max() <= 0.51, "voxels"
    adapter, target = MRMLScene(scene), Target(volume.GetID(), node.GetID())
    segment = next(each for each in adapter.segments(target) if each.id == "A")
    assert len(np.flatnonzero(segment.labels.any(axis=(1, 2)))) == 3
    check_result(scene, volume, node, "A")
    check_result(scene, volume, node, "empty")


@BOTH
def test_a_segmentation_under_the_same_transform_is_hardened_with_it(
    scene: slicer.vtkMRMLScene, grid: str, bending: str
) -> None:
    """It was loaded from a file next to the volume's, or a model made it for the volume."""
    volume = bent(scene, grid, bending)
    result = Segmentation(ball()[None].astype(np.uint8), GRIDS[grid], (Segment("A", "A", (1, 0, 0), 1),))
    node = scene.GetNodeByID(MRMLScene(scene).add_segmentation(volume.GetID(), result, "result"))
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()
    hardenTransforms(volume, node)
    assert node.GetParentTransformNode() is None and volume.GetParentTransformNode() is None
    seen = voxels(node, "A", volumeGeometry(volume))
    assert dice(seen, bright(scene, volume)) > 0.9, "the ball is where the volume shows it"
    check_result(scene, volume, node, "A")


def test_segments_that_share_a_labelmap_are_hardened_once(scene: slicer.vtkMRMLScene) -> None:
    volume = bent(scene, "oblique", "gantry tilt")
    node = add_in_editor(scene, volume, ["A", "B"])
    to_world = RAS @ GRIDS["oblique"].index_to_physical()
    for number, name in enumerate("AB"):
        mask = np.zeros(STRAIGHT.shape, bool)
        mask[5:9, 5:9, 4 + 9 * number : 9 + 9 * number] = True
        paint_in_world(node, volume, name, mask, to_world)
    images = {node.GetSegmentation().GetSegment(name).GetRepresentation("Binary labelmap") for name in "AB"}
    assert len(images) == 1
    hardenTransforms(volume, node)
    found = [voxels(node, name, volumeGeometry(volume)) for name in "AB"]
    assert [int(each.sum()) for each in found] == [80, 80] and not (found[0] & found[1]).any()


def test_nothing_happens_to_what_is_not_bent(scene: slicer.vtkMRMLScene) -> None:
    volume = add_volume(scene, np.where(ball(), 1000, 0).astype(np.int16), STRAIGHT)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    node = add_in_editor(scene, volume, ["A"])
    paint(node, "A", ball(), STRAIGHT)
    image = volume.GetImageData()
    hardenTransforms(volume, node)
    hardenTransforms(volume)
    assert volume.GetImageData() is image and volume.GetParentTransformNode() is transform


def test_a_bent_segmentation_of_a_straight_volume_is_refused_too(scene: slicer.vtkMRMLScene) -> None:
    other = bent(scene, "straight", "gantry tilt")
    volume = add_volume(scene, np.where(ball(), 1000, 0).astype(np.int16), STRAIGHT)
    node = add_segmentation(scene, volume, ["A"])
    paint(node, "A", ball(), STRAIGHT)
    node.SetAndObserveTransformNodeID(other.GetTransformNodeID())
    with pytest.raises(BadInputError, match=r"'segmentation' is under.*nonlinear"):
        MRMLScene(scene).segments(Target(volume.GetID(), node.GetID()))
    hardenTransforms(volume, node)
    assert MRMLScene(scene).segments(Target(volume.GetID(), node.GetID()))[0].labels.any()
