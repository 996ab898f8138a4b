"""What the scene reads, creates, refuses and remembers."""

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import slicer
import vtk
from harness.scene import RAS, add_segmentation, add_volume, labelmap, new_scene, only, paint, store, voxels, vtk_matrix

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.segmentation import place_on, read_segmentation
from FewShotSAMLib.core.volume import read_volume
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.workflow.scene import Target

GRID = Geometry((10, 9, 8), (0.8, 0.9, 3.0), (5, -7, 11), (0, 0, 1, 1, 0, 0, 0, 1, 0))


def ramp(shape: tuple[int, ...] = GRID.shape, dtype: str = "int16") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def segmented(scene: slicer.vtkMRMLScene, *names: str) -> tuple[slicer.vtkMRMLSegmentationNode, Target, MRMLScene]:
    """A segmentation with empty segments, of a volume with the ramp's values."""
    volume = add_volume(scene, ramp(), GRID)
    node = add_segmentation(scene, volume, names)
    return node, Target(volume.GetID(), node.GetID()), MRMLScene(scene)


def test_a_volume_is_a_view(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene, ramp(), GRID, "CT")
    volume = MRMLScene(scene).volume(node.GetID())
    assert volume.name == "CT" and volume.id == node.GetID() and volume.geometry.is_same_as(GRID)
    assert np.array_equal(volume.voxels, ramp())
    node.GetImageData().GetPointData().GetScalars().SetTuple1(0, 77)
    assert volume.voxels[0, 0, 0] == 77


def test_voxels_outlive_their_node(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene, ramp(), GRID)
    volume = MRMLScene(scene).volume(node.GetID())
    scene.RemoveNode(node)
    del node
    assert np.array_equal(volume.voxels, ramp())


@pytest.mark.parametrize("components", [3, 4])
def test_a_colour_volume(scene: slicer.vtkMRMLScene, components: int) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (*GRID.shape, components), np.uint8)
    volume = MRMLScene(scene).volume(add_volume(scene, colours, GRID).GetID())
    assert np.array_equal(volume.voxels, colours)


@pytest.mark.parametrize(("components", "dtype"), [(2, "uint8"), (6, "int16"), (3, "float32")])
def test_a_series_or_vector_volume_is_refused(scene: slicer.vtkMRMLScene, components: int, dtype: str) -> None:
    node = add_volume(scene, ramp((*GRID.shape, components), dtype), GRID)
    with pytest.raises(BadInputError, match=f"{components} values per voxel"):
        MRMLScene(scene).volume(node.GetID())


def test_volumes_that_cannot_be_used(scene: slicer.vtkMRMLScene) -> None:
    adapter = MRMLScene(scene)
    with pytest.raises(BadInputError, match="no voxels"):
        adapter.volume(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode").GetID())
    with pytest.raises(BadInputError, match="no longer in the scene"):
        adapter.volume("vtkMRMLScalarVolumeNode99")
    sheared = add_volume(scene, ramp(), GRID)
    sheared.SetIJKToRASMatrix(vtk_matrix([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    with pytest.raises(BadInputError, match="right angles"):
        adapter.volume(sheared.GetID())


def test_segments_as_they_are(scene: slicer.vtkMRMLScene) -> None:
    node, target, adapter = segmented(scene, "A", "B", "empty")
    store(node, labelmap(np.full((2, 3, 4), 5, np.uint8), RAS @ GRID.index_to_physical(), (3, 2, 1)), {"A": 5})
    node.GetSegmentation().GetSegment("A").SetTag("TerminologyEntry", "Liver~^~")
    node.GetSegmentation().GetSegment("A").SetName("Łeber")
    node.GetDisplayNode().SetSegmentVisibility("A", False)
    first, second, empty = adapter.segments(target)
    assert (first.id, first.name, first.offset, first.labels.shape) == ("A", "Łeber", (3, 2, 1), (2, 3, 4))
    assert first.label_value == 5 and not first.visible and first.tags["TerminologyEntry"] == "Liver~^~"
    assert second.visible and second.labels.size == 0 and empty.labels.size == 0
    assert np.shares_memory(first.labels, adapter.segments(target)[0].labels)


def test_a_labelmap_that_sticks_out_is_cropped(scene: slicer.vtkMRMLScene) -> None:
    node, target, adapter = segmented(scene, "A", "outside")
    to_ras = RAS @ GRID.index_to_physical()
    values = np.arange(1, 5 * 9 * 10 + 1, dtype=np.uint16).reshape(5, 9, 10)
    store(node, labelmap(values, to_ras, (-2, 0, 0)), {"A": values[2, 3, 4]})
    store(node, labelmap(values, to_ras, (-20, 0, 0)), {"outside": 1})
    inside, outside = adapter.segments(target)
    assert inside.offset == (0, 0, 0) and np.array_equal(inside.labels, values[2:])
    assert outside.labels.size == 0


def test_another_grid_is_refused_with_both_geometries(scene: slicer.vtkMRMLScene) -> None:
    node, target, adapter = segmented(scene, "A")
    other = Geometry((10, 9, 8), (0.85, 0.9, 3.0))
    store(node, labelmap(np.ones(other.shape, np.uint8), RAS @ other.index_to_physical()), {"A": 1})
    with pytest.raises(BadInputError) as caught:
        adapter.segments(target)
    assert other.describe() in str(caught.value) and GRID.describe() in str(caught.value)
    assert "Create a new segmentation" in caught.value.hint and "Segment Editor module" in caught.value.hint


def test_surfaces_are_refused_before_work_is_put_into_them(scene: slicer.vtkMRMLScene) -> None:
    node, target, adapter = segmented(scene)
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    assert node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "A", [1, 0, 0])
    with pytest.raises(BadInputError, match="Binary labelmap"):
        adapter.segments(target)


def test_what_is_gone_is_said(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    node, target, adapter = segmented(scene, "A")
    classes = np.ones(GRID.shape, np.uint8)
    with pytest.raises(BadInputError, match="no longer"):
        adapter.commit(target, ["A", "gone"], classes, 0, [1])
    assert not voxels(node, "A", GRID).any()
    with pytest.raises(BadInputError, match="no longer"):
        adapter.export(target, ["gone"], tmp_path / "a.nrrd")
    with pytest.raises(BadInputError, match="No segment"):
        adapter.export(target, [], tmp_path / "a.nrrd")
    assert adapter.exists(node.GetID()) and not adapter.exists("")
    scene.RemoveNode(node)
    assert not adapter.exists(target.segmentation)
    with pytest.raises(BadInputError, match="segmentation is no longer in the scene"):
        adapter.commit(target, ["A"], classes, 0, [1])


def test_a_new_segmentation_is_ready_to_paint_on(scene: slicer.vtkMRMLScene) -> None:
    volume = add_volume(scene, ramp(), GRID, "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    adapter = MRMLScene(scene)
    node = scene.GetNodeByID(adapter.create_segmentation(volume.GetID()))
    assert node.GetParentTransformNode() is transform and node.GetDisplayNode() is not None
    assert node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) == volume.GetID()
    (segment,) = adapter.segments(Target(volume.GetID(), node.GetID()))
    assert segment.labels.size == 0
    mask = ramp() % 3 == 0
    paint(node, segment.id, mask, GRID)
    assert np.array_equal(voxels(node, segment.id, GRID), mask)


def test_a_finished_segmentation_becomes_a_node(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    volume = add_volume(scene, ramp(), GRID)
    layers = np.stack([ramp() % 3, (ramp() % 5 == 1) * 300]).astype(np.uint16)
    segments = (
        Segment("a", "Müller", (0.1, 0.2, 0.3), 1, 0, {"TerminologyEntry": "x~y"}),
        Segment("b", "B", (1, 0, 0), 2),
        Segment("c", "C", (0, 1, 0), 300, 1),
    )
    adapter = MRMLScene(scene)
    node_id = adapter.add_segmentation(volume.GetID(), Segmentation(layers, GRID, segments), "Ergebnis")
    node = scene.GetNodeByID(node_id)
    assert node.GetName() == "Ergebnis" and node.GetDisplayNode() is not None
    for segment in segments:
        expected = layers[segment.layer] == segment.label_value
        assert np.array_equal(voxels(node, segment.id, GRID), expected)
    target = Target(volume.GetID(), node_id)
    adapter.export(target, ["a", "b", "c"], tmp_path / "out.seg.nrrd")
    back = read_segmentation(tmp_path / "out.seg.nrrd")
    for written, segment in zip(back.segments, segments, strict=True):
        assert (written.id, written.name, written.label_value) == (segment.id, segment.name, segment.label_value)
        assert np.allclose(written.color, segment.color)
        assert dict(written.tags).items() >= dict(segment.tags).items()  # Slicer adds its default terminology
    with pytest.raises(BadInputError, match="grid"):
        elsewhere = Geometry(GRID.size, (0.81, 0.9, 3.0))
        adapter.add_segmentation(volume.GetID(), Segmentation(layers, elsewhere, segments), "x")


def test_exported_labels_are_stable_and_slicer_reads_the_file(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    node, target, adapter = segmented(scene, "A", "B", "empty", "left out")
    for number, name in enumerate(("A", "B", "left out")):
        paint(node, name, ramp() % 4 == number, GRID)
    values = {each.id: each.label_value for each in adapter.segments(target)}
    assert adapter.export(target, ["A", "B", "empty"], tmp_path / "labels.nrrd") == []
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "labels.nrrd")))
    assert np.array_equal(labels, np.where(ramp() % 4 < 2, np.where(ramp() % 4 == 0, values["A"], values["B"]), 0))
    adapter.export(target, ["A", "B", "empty"], tmp_path / "out.seg.nrrd")
    loaded = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "out.seg.nrrd"))
    assert storage.ReadData(loaded)
    for name in ("A", "B", "empty"):
        assert np.array_equal(voxels(loaded, name, GRID), voxels(node, name, GRID))


def test_segments_without_voxels_stay_apart_in_a_file(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    """If they shared a layer and a label value, painting one would paint both."""
    node, target, adapter = segmented(scene, "A", "B", "C")
    store(node, labelmap((ramp() % 2 == 0).astype(np.uint8), RAS @ GRID.index_to_physical()), {"C": 1})
    for name in "AB":
        store(node, slicer.vtkOrientedImageData(), {name: 1})
    adapter.export(target, ["A", "B", "C"], tmp_path / "out.seg.nrrd")
    written = read_segmentation(tmp_path / "out.seg.nrrd")
    assert [each.id for each in written.segments] == ["A", "B", "C"]
    assert len({(each.layer, each.label_value) for each in written.segments}) == 3
    assert [int(written.mask(each).sum()) for each in written.segments] == [0, 0, int((ramp() % 2 == 0).sum())]


def test_a_note_is_saved_with_the_scene(scene: slicer.vtkMRMLScene, tmp_path: Path) -> None:
    volume = add_volume(scene, ramp(), GRID)
    adapter = MRMLScene(scene)
    node_id = adapter.create_segmentation(volume.GetID())
    assert adapter.note(node_id) == ""
    text = '{"painted": [1, 2]; "é": "<&%3A>"}\n'
    adapter.set_note(node_id, text)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit(str(tmp_path / "scene.mrml"))
    loaded = new_scene()
    loaded.SetURL(str(tmp_path / "scene.mrml"))
    loaded.Import()
    assert MRMLScene(loaded).note(node_id) == text
    adapter.set_note(node_id, "")
    assert adapter.note(node_id) == ""


def test_a_shown_surface_follows_a_commit_and_its_undo(scene: slicer.vtkMRMLScene) -> None:
    node, target, adapter = segmented(scene, "A", "B")
    block = np.zeros(GRID.shape, bool)
    block[2:6, 2:6, 2:6] = True
    paint(node, "B", block, GRID)
    segmentation = node.GetSegmentation()
    segmentation.CreateRepresentation("Closed surface")

    def points(name: str) -> int:
        return segmentation.GetSegment(name).GetRepresentation("Closed surface").GetNumberOfPoints()

    before = points("B")
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")  # its default: all segments are overwritten
    editor.SetAndObserveSegmentationNode(node)
    adapter.commit(target, ["A"], block.astype(np.uint8), 0, [3, 4, 5])
    assert points("A") > 0 and 0 < points("B") < before
    adapter.undo()
    assert points("A") == 0 and points("B") == before


@pytest.mark.parametrize("folder", ["mr-heart", "ct-spleen"])  # oblique; anisotropic
def test_a_real_volume(scene: slicer.vtkMRMLScene, shared_data: Path, tmp_path: Path, folder: str) -> None:
    image = read_volume(shared_data / folder / "image.nii.gz")
    truth, _ = place_on(read_segmentation(shared_data / folder / "labels.nii.gz"), image.geometry)
    node = add_volume(scene, image.voxels, image.geometry, image.name)
    adapter = MRMLScene(scene)
    target = Target(node.GetID(), adapter.create_segmentation(node.GetID()))
    (segment,) = adapter.segments(target)
    mask = truth.mask(truth.segments[0])
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    painted = [int(slices[len(slices) * n // 4]) for n in (1, 2, 3)]
    sparse = only(mask, 0, painted)
    segmentation = scene.GetNodeByID(target.segmentation)
    paint(segmentation, segment.id, sparse, image.geometry)
    begin = time.perf_counter()
    others = [k for k in range(len(mask)) if k not in painted]
    adapter.commit(target, [segment.id], mask.astype(np.uint8), 0, others)
    assert time.perf_counter() - begin < 5
    assert np.array_equal(voxels(segmentation, segment.id, image.geometry), mask)
    adapter.export(target, [segment.id], tmp_path / "out.seg.nrrd")
    back = read_segmentation(tmp_path / "out.seg.nrrd")
    assert back.geometry.is_same_as(image.geometry) and np.array_equal(back.mask(back.segments[0]), mask)
    adapter.undo()
    assert np.array_equal(voxels(segmentation, segment.id, image.geometry), sparse)


def test_new_segmentations_come_under_the_volumes_patient_and_study(scene: slicer.vtkMRMLScene) -> None:
    """The application lists a node as soon as it is added, but under no patient."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    def list_it(caller: object, event: str, node: slicer.vtkMRMLNode) -> None:
        if isinstance(node, slicer.vtkMRMLSegmentationNode):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    list_it.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    scene.AddObserver(scene.NodeAddedEvent, list_it)
    volume = add_volume(scene, ramp(), GRID)
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient"), "study")
    hierarchy.CreateItem(study, volume)
    result = Segmentation((ramp() % 2).astype(np.uint8)[None], GRID, (Segment("a", "A", (1, 0, 0), 1),))
    adapter = MRMLScene(scene)
    ids = adapter.create_segmentation(volume.GetID()), adapter.add_segmentation(volume.GetID(), result, "result")
    items = [hierarchy.GetItemByDataNode(scene.GetNodeByID(each)) for each in ids]
    assert [hierarchy.GetItemParent(item) for item in items] == [study, study]
