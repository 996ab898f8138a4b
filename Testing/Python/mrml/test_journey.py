"""Paint on three slices, read, commit, undo, export: on volumes of every geometry, comparing each stored voxel."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
import slicer
import vtk
from harness.places import OBLIQUE, SHIFT, TURN, add_transform
from harness.scene import (
    LABELMAP,
    RAS,
    EditorWidget,
    add_segmentation,
    add_volume,
    labelmap,
    only,
    paint,
    store,
    stored,
    voxels,
)

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.workflow.scene import Target

COUNT = 14  # slices along every axis that is committed on
AXIAL = Geometry((22, 18, COUNT), (0.7, 1.1, 4.0), (-12.5, 30.25, -801.125))
GEOMETRIES = {
    "axial": AXIAL,
    "coronal": replace(AXIAL, direction=(1, 0, 0, 0, 0, 1, 0, -1, 0)),
    "sagittal": replace(AXIAL, direction=(0, 0, 1, 1, 0, 0, 0, 1, 0)),
    "oblique": replace(AXIAL, direction=OBLIQUE),
    "oblique left-handed": replace(AXIAL, direction=tuple(np.reshape(OBLIQUE, (3, 3))[:, ::-1].ravel().tolist())),
}


@dataclass
class Case:
    """A volume and a segmentation of two segments, painted on three slices."""

    scene: slicer.vtkMRMLScene
    volume: slicer.vtkMRMLVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    geometry: Geometry

    @property
    def target(self) -> Target:
        return Target(self.volume.GetID(), self.segmentation.GetID())

    def both(self) -> dict[str, np.ndarray]:
        """Return voxels of the two segments by Slicer's own resampling."""
        return {name: voxels(self.segmentation, name, self.geometry) for name in "AB"}


def truth(geometry: Geometry) -> np.ndarray:
    """(K, J, I) uint8: a ball of 1 and one of 2 that reach every slice except those at the edges."""
    k, j, i = (np.linspace(-1, 1, n).reshape([-1 if a == axis else 1 for a in range(3)]) if n > 1 else np.zeros(1)
               for axis, n in enumerate(geometry.shape))  # fmt: skip
    classes = np.zeros(geometry.shape, np.uint8)
    classes[k**2 + (j + 0.4) ** 2 * 2 + i**2 < 0.9] = 1
    classes[k**2 + (j - 0.5) ** 2 * 5 + i**2 < 0.9] = 2
    return classes


def make_case(scene: slicer.vtkMRMLScene, geometry: Geometry, name: str = "volume") -> Case:
    """Make a volume, and a segmentation with two empty segments."""
    image = np.arange(np.prod(geometry.shape), dtype=np.int16).reshape(geometry.shape)
    volume = add_volume(scene, image, geometry, name)
    return Case(scene, volume, add_segmentation(scene, volume, ["A", "B"]), geometry)


def paint_slices(case: Case, axis: int, indices: list[int]) -> None:
    """Paint the truth on a few slices."""
    classes = only(truth(case.geometry), axis, indices)
    for number, name in enumerate("AB", start=1):
        paint(case.segmentation, name, classes == number, case.geometry)


def check_journey(case: Case, axis: int, painted: list[int], folder: Path) -> None:
    """Check the whole workflow, with every promise that the scene makes."""
    scene = MRMLScene(case.scene)
    image_before = scene.volume(case.volume.GetID()).voxels.copy()
    classes = truth(case.geometry)
    others = [index for index in range(case.geometry.shape[axis]) if index not in painted]
    before, painted_before = stored(case.segmentation), case.both()
    for segment, name in zip(scene.segments(case.target), "AB", strict=True):
        seen = np.zeros(case.geometry.shape, bool)
        box = tuple(slice(o, o + n) for o, n in zip(segment.offset, segment.labels.shape, strict=True))
        seen[box] = segment.labels == segment.label_value
        assert (segment.id, segment.name) == (name, name)
        assert np.array_equal(seen, painted_before[name])

    given = classes.copy()
    np.moveaxis(given, axis, 0)[painted] = (np.moveaxis(given, axis, 0)[painted] + 1) % 3  # must not be read
    scene.commit(case.target, ["A", "B"], given, axis, others)
    for number, (name, after) in enumerate(case.both().items(), start=1):
        slices_after, slices_before = np.moveaxis(after, axis, 0), np.moveaxis(painted_before[name], axis, 0)
        assert np.array_equal(slices_after[painted], slices_before[painted]), "a painted slice changed"
        assert np.array_equal(slices_after[others], np.moveaxis(classes == number, axis, 0)[others])
    check_export(case, scene, folder)
    scene.undo()
    assert stored(case.segmentation) == before
    assert np.array_equal(scene.volume(case.volume.GetID()).voxels, image_before)


def check_export(case: Case, scene: MRMLScene, folder: Path) -> None:
    """Check that files read by other programs hold the same voxels at the same place."""
    expected = case.both()
    for name in ("Größe 腎臓.seg.nrrd", "labels é.nrrd", "labels.nii.gz"):
        path = folder / name
        scene.export(case.target, ["A", "B"], path)
        image = SimpleITK.ReadImage(str(path))
        got = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        assert got.size == case.geometry.size
        tolerance = 1e-4 if name.endswith(".nii.gz") else 1e-6  # NIfTI stores float32
        assert np.allclose(got.index_to_physical(), case.geometry.index_to_physical(), atol=tolerance)
        written = read_segmentation(path)
        for segment, mask in zip(written.segments, expected.values(), strict=True):
            assert np.array_equal(written.mask(segment), mask)
    data, header = nrrd.read(str(folder / "Größe 腎臓.seg.nrrd"))
    assert header["Segment1_Name"] == "B"
    assert np.allclose(header["space directions"][-3:], case.geometry.index_to_physical()[:3, :3].T, atol=1e-6)
    assert np.allclose(header["space origin"], case.geometry.origin, atol=1e-6)
    layer = data.T if data.ndim == 3 else data.T[..., int(header["Segment1_Layer"])]
    assert np.array_equal(layer == int(header["Segment1_LabelValue"]), expected["B"])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_direction_and_axis(scene: slicer.vtkMRMLScene, tmp_path: Path, name: str, axis: int) -> None:
    case = make_case(scene, GEOMETRIES[name])
    paint_slices(case, axis, [3, 7, 10])
    check_journey(case, axis, [3, 7, 10], tmp_path)


def test_one_slice(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    case = make_case(scene, replace(GEOMETRIES["oblique"], size=(22, 18, 1)))
    paint_slices(case, 1, [4, 6, 9])
    check_journey(case, 1, [4, 6, 9], tmp_path)


def test_a_non_ascii_name(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    case = make_case(scene, AXIAL, "Gehör — 耳 🦻")
    paint_slices(case, 0, [3, 7, 10])
    assert MRMLScene(scene).volume(case.volume.GetID()).name == "Gehör — 耳 🦻"
    check_journey(case, 0, [3, 7, 10], tmp_path)


def share_cropped(case: Case) -> None:
    """One labelmap for both segments that stores only a part of the grid, with another index origin, values 7 and 9."""
    classes = only(truth(case.geometry), 0, [3, 7, 10])
    values = np.array([0, 7, 9], np.uint8)[classes][2:12, 1:17]
    to_ras = RAS @ case.geometry.index_to_physical()
    to_ras[:3, 3] = (to_ras @ [2, 3, 4, 1])[:3]  # its index (0, 0, 0) is (2, 3, 4) of the volume
    store(case.segmentation, labelmap(values, to_ras, (2 - 4, 1 - 3, 0 - 2)), {"A": 7, "B": 9})


def share_turned(case: Case) -> None:
    """The same with the axes in another order and direction: voxel for voxel on the same lattice."""
    classes = only(truth(case.geometry), 0, [3, 7, 10])
    values = classes.transpose(1, 0, 2)[:, ::-1]  # j, k backwards, i
    turn = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, COUNT - 1], [0, 0, 0, 1]], float)  # (i, k', j) to (i, j, k)
    store(case.segmentation, labelmap(values, RAS @ case.geometry.index_to_physical() @ turn), {"A": 1, "B": 2})


def store_apart(case: Case) -> None:
    """A labelmap for each segment, B with a value that needs 16 bits."""
    classes = only(truth(case.geometry), 0, [3, 7, 10])
    to_ras = RAS @ case.geometry.index_to_physical()
    store(case.segmentation, labelmap(classes == 1, to_ras), {"A": 1})
    store(case.segmentation, labelmap(np.where(classes == 2, 300, 0).astype(np.uint16), to_ras), {"B": 300})


@pytest.mark.parametrize("arrange", [share_cropped, share_turned, store_apart])
@pytest.mark.parametrize("name", ["axial", "oblique left-handed"])
def test_labelmaps_that_are_stored_otherwise(
    scene: slicer.vtkMRMLScene, tmp_path: Path, arrange: Callable[[Case], None], name: str
) -> None:
    case = make_case(scene, GEOMETRIES[name])
    arrange(case)
    assert case.both()["A"].any()
    check_journey(case, 0, [3, 7, 10], tmp_path)
    before = lattice_of(case, "A")
    MRMLScene(scene).commit(case.target, ["A", "B"], truth(case.geometry), 0, range(COUNT))
    assert lattice_of(case, "A") == before  # not resampled to the volume's


def lattice_of(case: Case, name: str) -> list[float]:
    """Return index to RAS of the labelmap in which a segment is stored."""
    matrix = vtk.vtkMatrix4x4()
    case.segmentation.GetSegmentation().GetSegment(name).GetRepresentation(LABELMAP).GetImageToWorldMatrix(matrix)
    return list(matrix.GetData())


@pytest.mark.parametrize("value", [1, 300])  # 300: beyond the 8 bits of a mask
def test_a_segment_without_voxels(scene: slicer.vtkMRMLScene, tmp_path: Path, value: int) -> None:
    case = make_case(scene, GEOMETRIES["oblique"])
    for name in "AB":
        store(case.segmentation, slicer.vtkOrientedImageData(), {name: value})
    check_journey(case, 0, [], tmp_path)


def test_a_volume_under_a_transform(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    case = make_case(scene, GEOMETRIES["oblique"])
    transform = add_transform(scene, [SHIFT @ TURN])
    case.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    paint_slices(case, 0, [3, 7, 10])
    check_journey(case, 0, [3, 7, 10], tmp_path)
    warnings = MRMLScene(scene).export(case.target, ["A"], tmp_path / "a.seg.nrrd")
    assert len(warnings) == 1 and "'transform'" in warnings[0]


def test_the_users_own_undo_steps_back(scene: slicer.vtkMRMLScene) -> None:
    case = make_case(scene, AXIAL)
    paint_slices(case, 0, [3, 7, 10])
    widget = EditorWidget(scene, case.segmentation)
    adapter = MRMLScene(scene, widget)
    before = stored(case.segmentation)
    adapter.commit(case.target, ["A", "B"], truth(AXIAL), 0, [4, 5, 6])
    after = stored(case.segmentation)
    assert widget.saved == 1 and before != after
    widget.undo()
    assert stored(case.segmentation) == before and not widget.canUndo()
    adapter.commit(case.target, ["A", "B"], truth(AXIAL), 0, [4, 5, 6])
    adapter.undo()
    assert stored(case.segmentation) == before


def test_undo_of_a_segmentation_that_the_widget_does_not_show(scene: slicer.vtkMRMLScene) -> None:
    case = make_case(scene, AXIAL)
    widget = EditorWidget(scene, add_segmentation(scene, case.volume, ["other"]))
    adapter = MRMLScene(scene, widget)
    before = stored(case.segmentation)
    adapter.commit(case.target, ["A", "B"], truth(AXIAL), 0, [4, 5, 6])
    assert widget.saved == 0 and stored(case.segmentation) != before
    adapter.undo()
    assert stored(case.segmentation) == before


def test_a_cleared_slice_comes_back_by_undo(scene: slicer.vtkMRMLScene) -> None:
    case = make_case(scene, AXIAL)
    paint_slices(case, 0, [3, 7, 10])
    before = stored(case.segmentation)
    adapter = MRMLScene(scene)
    adapter.clear_slice(case.target, ["A"], 0, 7)
    left = case.both()
    assert not left["A"][7].any() and left["A"][3].any() and left["A"][10].any() and left["B"][7].any()
    adapter.undo()
    assert stored(case.segmentation) == before


def test_erasing_moves_a_segment_to_no_labelmap_of_its_own(scene: slicer.vtkMRMLScene) -> None:
    """Each labelmap costs memory and time in Slicer; naive erasing around another segment creates one."""
    case = make_case(scene, AXIAL)
    core, block = np.zeros(AXIAL.shape, bool), np.zeros(AXIAL.shape, bool)
    block[3:6, 2:9, 2:9] = core[3:6, 4:6, 4:6] = True
    paint(case.segmentation, "A", block, AXIAL)
    paint(case.segmentation, "B", core, AXIAL)
    MRMLScene(scene).clear_slice(case.target, ["A"], 0, 4)
    images = [case.segmentation.GetSegmentation().GetSegment(name).GetRepresentation(LABELMAP) for name in "AB"]
    assert images[0] is images[1]
    assert np.array_equal(case.both()["B"], core) and not case.both()["A"][4].any()


def test_a_second_commit_replaces_the_first(scene: slicer.vtkMRMLScene) -> None:
    case = make_case(scene, AXIAL)
    adapter = MRMLScene(scene)
    adapter.commit(case.target, ["A", "B"], truth(AXIAL), 0, range(COUNT))
    moved = np.roll(truth(AXIAL), 3, axis=2)
    adapter.commit(case.target, ["A", "B"], moved, 0, range(2, 9))
    for number, name in enumerate("AB", start=1):
        assert np.array_equal(case.both()[name][2:9], moved[2:9] == number)
        assert np.array_equal(case.both()[name][9:], truth(AXIAL)[9:] == number)


def test_commit_adapts_after_the_scene_was_closed(scene: slicer.vtkMRMLScene) -> None:
    adapter = MRMLScene(scene)
    for _ in range(2):
        case = make_case(scene, AXIAL)
        adapter.commit(case.target, ["A", "B"], truth(AXIAL), 0, [5])
        assert np.array_equal(case.both()["A"][5], truth(AXIAL)[5] == 1)
        adapter.undo()
        assert not case.both()["A"].any()
        scene.Clear(False)
        adapter.undo()
