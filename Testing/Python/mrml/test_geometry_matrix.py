"""Volume and segmentation under arbitrary transforms: painted slices and results keep their position in the world."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from harness.places import (
    GRID,
    LINEAR,
    SHIFT,
    TURN,
    add_in_editor,
    add_transform,
    index_to_world,
    paint_in_world,
    points_in_world,
    points_of,
    same_places,
)
from harness.scene import RAS, add_segmentation, add_volume, labelmap, new_scene, only, paint, store, stored, vtk_matrix

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import grid_offset_warnings, read_segmentation
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.workflow.scene import Target

PAINTED = {0: [2, 6], 1: [3, 7], 2: [4, 9]}
CLASSES = np.random.default_rng(0).integers(0, 3, GRID.shape, np.uint8)


@dataclass
class Case:
    """A volume under linear transforms, each under the next, and a segmentation of it with the segments A and B."""

    scene: slicer.vtkMRMLScene
    volume: slicer.vtkMRMLVolumeNode
    matrices: list[np.ndarray]
    parent: slicer.vtkMRMLTransformNode | None
    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    folder: Path = Path()

    @property
    def target(self) -> Target:
        return Target(self.volume.GetID(), self.segmentation.GetID())

    @property
    def to_world(self) -> np.ndarray:
        return index_to_world(GRID, self.matrices)

    def is_at(self, node: slicer.vtkMRMLSegmentationNode, classes: np.ndarray) -> bool:
        """Whether A and B lie in the world where the volume's classes 1 and 2 do."""
        return all(
            same_places(points_in_world(node, name), points_of(classes == number, self.to_world))
            for number, name in enumerate("AB", start=1)
        )


def make_case(scene: slicer.vtkMRMLScene, name: str) -> Case:
    volume = add_volume(scene, np.arange(np.prod(GRID.shape), dtype=np.int16).reshape(GRID.shape), GRID)
    parent = add_transform(scene, LINEAR[name])
    volume.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    return Case(scene, volume, LINEAR[name], parent)


def made_by_us(case: Case) -> None:
    """Under the volume's transform, as `create_segmentation` leaves it."""
    node = case.scene.GetNodeByID(MRMLScene(case.scene).create_segmentation(case.volume.GetID()))
    node.GetSegmentation().RemoveAllSegments()
    for name in "AB":
        node.GetSegmentation().AddEmptySegment(name, name)
    case.segmentation = node


def made_by_us_and_hardened(case: Case) -> None:
    made_by_us(case)
    case.segmentation.HardenTransform()


def made_in_the_editor(case: Case) -> None:
    case.segmentation = add_in_editor(case.scene, case.volume, ["A", "B"])


def made_in_the_editor_under_the_transform(case: Case) -> None:
    case.segmentation = add_in_editor(case.scene, case.volume, ["A", "B"], case.parent)


def made_in_the_editor_under_another_transform(case: Case) -> None:
    parent = add_transform(case.scene, [TURN, TURN, SHIFT])
    case.segmentation = add_in_editor(case.scene, case.volume, ["A", "B"], parent)


def _loaded(case: Case, to_ras: np.ndarray) -> slicer.vtkMRMLSegmentationNode:
    """Write it in another scene with Slicer and read it again, one voxel in each segment."""
    other = new_scene()
    node = other.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
    first = np.zeros(GRID.shape, np.uint8)
    first[1, 1, 1], first[7, 9, 11] = 1, 2  # not on slices that are painted later
    for name in "AB":
        node.GetSegmentation().AddEmptySegment(name, name)
    store(node, labelmap(first, to_ras), {"A": 1, "B": 2})
    volume = add_volume(other, first, GRID)
    volume.SetIJKToRASMatrix(vtk_matrix(to_ras))
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    path = case.folder / "file.seg.nrrd"
    for scene, action, holder in ((other, "WriteData", node), (case.scene, "ReadData", None)):
        storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        storage.SetFileName(str(path))
        holder = holder or scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
        assert getattr(storage, action)(holder)
    holder.CreateDefaultDisplayNodes()
    return holder


def loaded_where_the_volume_lies(case: Case) -> None:
    case.segmentation = _loaded(case, case.to_world)


def loaded_beside_the_volumes_file(case: Case) -> None:
    case.segmentation = _loaded(case, RAS @ GRID.index_to_physical())
    case.segmentation.SetAndObserveTransformNodeID(case.parent.GetID() if case.parent is not None else None)


def only_a_part_is_stored(case: Case) -> None:
    """One label map that both segments share, smaller than the volume, with its own label values."""
    made_in_the_editor(case)
    part = np.zeros((5, 6, 7), np.uint8)
    part[0, 1, 1], part[4, 5, 6] = 7, 9
    to_ras = case.to_world.copy()
    to_ras[:3, 3] = (to_ras @ [2, 3, 1, 1])[:3]
    store(case.segmentation, labelmap(part, to_ras), {"A": 7, "B": 9})


MAKERS = [
    made_by_us,
    made_by_us_and_hardened,
    made_in_the_editor,
    made_in_the_editor_under_the_transform,
    made_in_the_editor_under_another_transform,
    loaded_where_the_volume_lies,
    loaded_beside_the_volumes_file,
    only_a_part_is_stored,
]


def seen(adapter: MRMLScene, target: Target) -> np.ndarray:
    """Return (K, J, I) classes as the workflow sees them."""
    found = np.zeros(GRID.shape, np.uint8)
    for number, segment in enumerate(adapter.segments(target), start=1):
        box = tuple(slice(o, o + n) for o, n in zip(segment.offset, segment.labels.shape, strict=True))
        found[box][segment.labels == segment.label_value] = number
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", LINEAR)
def test_painted_slices_preview_and_result_lie_where_they_were_painted(
    scene: slicer.vtkMRMLScene, tmp_path: Path, name: str, make: Callable[[Case], None], axis: int
) -> None:
    case = make_case(scene, name)
    case.folder = tmp_path
    make(case)
    adapter, drawn = MRMLScene(scene), only(CLASSES, axis, PAINTED[axis])
    for number, segment in enumerate("AB", start=1):
        paint_in_world(case.segmentation, case.volume, segment, drawn == number, case.to_world)
    before = seen(adapter, case.target)
    assert np.array_equal(only(before, axis, PAINTED[axis]), drawn) and case.is_at(case.segmentation, before)

    kept = stored(case.segmentation)
    others = [index for index in range(GRID.shape[axis]) if index not in PAINTED[axis]]
    preview = adapter.open_preview(case.target, ["A", "B"])
    preview.show(np.moveaxis(CLASSES, axis, 0), axis, range(GRID.shape[axis]))
    assert case.is_at(preview.node, CLASSES)
    preview.remove()
    adapter.commit(case.target, ["A", "B"], CLASSES, axis, others)
    assert case.is_at(case.segmentation, CLASSES)
    adapter.export(case.target, ["A", "B"], tmp_path / "out.seg.nrrd")
    written = read_segmentation(tmp_path / "out.seg.nrrd")
    assert written.geometry.is_same_as(GRID), "where the file of the volume lies"
    assert all(np.array_equal(written.mask(each), n == CLASSES) for n, each in enumerate(written.segments, start=1))
    adapter.undo()
    assert stored(case.segmentation) == kept


@pytest.mark.parametrize("name", LINEAR)
def test_an_added_result_lies_where_the_volume_does(scene: slicer.vtkMRMLScene, name: str) -> None:
    case = make_case(scene, name)
    segments = (Segment("A", "A", (1, 0, 0), 1), Segment("B", "B", (0, 1, 0), 2))
    result = Segmentation(CLASSES[None], GRID, segments)
    node = scene.GetNodeByID(MRMLScene(scene).add_segmentation(case.volume.GetID(), result, "result"))
    assert case.is_at(node, CLASSES)
    mask = np.zeros(GRID.shape, bool)
    mask[4, 4:6, 4:6] = True
    paint_in_world(node, case.volume, "A", mask, case.to_world)  # on the same grid
    assert case.is_at(node, np.where(mask, 1, CLASSES))
    assert MRMLScene(scene).segments(Target(case.volume.GetID(), node.GetID()))


@pytest.mark.parametrize("name", ["shift", "rotation"])
def test_where_it_was_made_before_the_transform_its_place_in_the_world_counts(
    scene: slicer.vtkMRMLScene, name: str
) -> None:
    """The views show the two apart, so nothing may be learned as if they were aligned; and the hint moves nothing."""
    case = make_case(scene, name)
    case.volume.SetAndObserveTransformNodeID(None)
    case.segmentation = add_segmentation(scene, case.volume, ["A", "B"])
    paint(case.segmentation, "A", CLASSES == 1, GRID)
    case.volume.SetAndObserveTransformNodeID(case.parent.GetID())
    with pytest.raises(BadInputError, match="another grid") as caught:
        MRMLScene(scene).segments(case.target)
    assert "Specify geometry" in caught.value.hint and "under" not in caught.value.hint


def test_a_shift_by_whole_voxels_is_seen_as_one(scene: slicer.vtkMRMLScene) -> None:
    """Painted under no transform at i = 5, while the volume is moved by three voxels: that is its voxel i = 2."""
    case = make_case(scene, "no transform")
    case.segmentation = add_segmentation(scene, case.volume, ["A", "B"])
    mask = np.zeros(GRID.shape, bool)
    mask[4, 5, 5] = True
    paint(case.segmentation, "A", mask, GRID)
    step = np.eye(4)
    step[:3, 3] = 3 * (RAS @ GRID.index_to_physical())[:3, 0]
    parent = add_transform(scene, [step])
    case.volume.SetAndObserveTransformNodeID(parent.GetID())
    assert np.argwhere(seen(MRMLScene(scene), case.target)).tolist() == [[4, 5, 2]]


def test_a_sheared_segmentation_is_refused_as_one_on_another_grid(scene: slicer.vtkMRMLScene) -> None:
    case = make_case(scene, "scaling")
    case.volume.SetAndObserveTransformNodeID(None)
    case.segmentation = add_segmentation(scene, case.volume, ["A", "B"])
    paint(case.segmentation, "A", CLASSES == 1, GRID)
    case.segmentation.SetAndObserveTransformNodeID(case.parent.GetID())
    with pytest.raises(BadInputError, match=r"another grid.*sheared"):
        MRMLScene(scene).segments(case.target)


def test_a_composite_of_linear_transforms_in_one_node(scene: slicer.vtkMRMLScene) -> None:
    """Slicer calls it linear but has no matrix for it: asked for one, it warns and returns the identity."""
    case = make_case(scene, "rotation under shift")
    general = vtk.vtkGeneralTransform()
    general.PostMultiply()
    for matrix in case.matrices:
        part = vtk.vtkTransform()
        part.SetMatrix(matrix.ravel().tolist())
        general.Concatenate(part)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(general)
    case.volume.SetAndObserveTransformNodeID(node.GetID())
    made_by_us(case)
    adapter = MRMLScene(scene)
    adapter.commit(case.target, ["A", "B"], CLASSES, 0, range(GRID.shape[0]))
    assert case.is_at(case.segmentation, CLASSES)


def test_a_transform_that_makes_the_volume_flat_is_told(scene: slicer.vtkMRMLScene) -> None:
    case = make_case(scene, "no transform")
    case.segmentation = add_segmentation(scene, case.volume, ["A", "B"])
    parent = add_transform(scene, [np.diag([1.0, 1.0, 0.0, 1.0])])
    case.volume.SetAndObserveTransformNodeID(parent.GetID())
    with pytest.raises(BadInputError, match="flat"):
        MRMLScene(scene).segments(case.target)


def test_what_is_off_by_less_than_a_quarter_of_a_voxel_is_on_the_same_grid(scene: slicer.vtkMRMLScene) -> None:
    """As on the command line; if it is further off, it is on another."""
    case = make_case(scene, "no transform")
    for share, is_same in ((0.1, True), (0.3, False)):
        near = replace(GRID, origin=tuple(GRID.index_to_physical() @ [share, 0, 0, 1])[:3])
        case.segmentation = add_segmentation(scene, case.volume, ["A", "B"])
        paint(case.segmentation, "A", CLASSES == 1, near)
        if not is_same:
            with pytest.raises(BadInputError, match="another grid"):
                MRMLScene(scene).segments(case.target)
            continue
        segments = MRMLScene(scene).segments(case.target)
        assert segments[0].apart == pytest.approx(share, abs=0.01)
        assert (seen(MRMLScene(scene), case.target) == (CLASSES == 1)).all()
        (told,) = grid_offset_warnings(segments[0].apart)
        assert "by up to 0.1 voxels" in told
