"""Results next to existing voxels: what a user painted is preserved, and unchanged voxels are not written again."""

from collections.abc import Callable

import numpy as np
import pytest
import slicer
import vtk
from harness.scene import paint, stored
from mrml.test_journey import AXIAL, make_case, paint_slices, truth

from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.mrml.editor import Editor

PAINTED = 6


@pytest.mark.parametrize("axis", range(3))
def test_a_spared_segment_stays_and_the_other_is_written(scene: slicer.vtkMRMLScene, axis: int) -> None:
    case = make_case(scene, AXIAL)
    paint_slices(case, axis, [PAINTED])
    before, kept = case.both(), stored(case.segmentation)
    moved = np.roll(truth(AXIAL), 2, axis=(axis + 1) % 3)
    adapter = MRMLScene(scene)
    adapter.commit(case.target, ["A", "B"], moved, axis, [PAINTED, PAINTED + 1], {"A": [PAINTED]})
    after = {name: np.moveaxis(mask, axis, 0) for name, mask in case.both().items()}
    was = {name: np.moveaxis(mask, axis, 0) for name, mask in before.items()}
    wanted = np.moveaxis(moved, axis, 0)
    free = ~was["A"][PAINTED]
    assert np.array_equal(after["A"][PAINTED] & free, was["A"][PAINTED] & free)
    assert np.array_equal(after["B"][PAINTED] & free, (wanted[PAINTED] == 2) & free)
    assert np.array_equal(after["A"][PAINTED + 1], wanted[PAINTED + 1] == 1)
    assert np.array_equal(after["B"][PAINTED + 1], wanted[PAINTED + 1] == 2)
    adapter.undo()
    assert stored(case.segmentation) == kept


@pytest.mark.parametrize("axis", range(3))
def test_only_slices_that_change_are_written(
    scene: slicer.vtkMRMLScene, monkeypatch: pytest.MonkeyPatch, axis: int
) -> None:
    case, adapter, written = make_case(scene, AXIAL), MRMLScene(scene), []
    classes = truth(AXIAL)
    every = list(range(AXIAL.shape[axis]))
    adapter.commit(case.target, ["A", "B"], classes, axis, every)
    for way in ("add", "remove"):
        monkeypatch.setattr(Editor, way, _noting(written, getattr(Editor, way)))
    adapter.commit(case.target, ["A", "B"], classes, axis, every)
    assert written == []
    slices = np.moveaxis(classes, axis, 0)
    slices[PAINTED] = np.roll(slices[PAINTED], 1, axis=0)
    adapter.commit(case.target, ["A", "B"], classes, axis, every)
    first, last = 2 * (2 - axis), 2 * (2 - axis) + 1
    assert written and {(extent[first], extent[last]) for extent in written} == {(PAINTED, PAINTED)}
    for number, mask in enumerate(case.both().values(), start=1):
        np.testing.assert_array_equal(mask, classes == number)


def test_what_lies_beneath_another_segment_is_written_again(scene: slicer.vtkMRMLScene) -> None:
    """A voxel that another segment holds, too, no longer agrees with the result."""
    case, adapter = make_case(scene, AXIAL), MRMLScene(scene)
    classes, every = (truth(AXIAL) == 1).astype(np.uint8), list(range(AXIAL.shape[0]))
    adapter.commit(case.target, ["A", "B"], classes, 0, every)
    paint(case.segmentation, "B", classes > 0, AXIAL, overwrites=False)
    assert all(np.array_equal(mask, classes > 0) for mask in case.both().values())
    adapter.commit(case.target, ["A", "B"], classes, 0, every)
    assert not case.both()["B"].any() and np.array_equal(case.both()["A"], classes == 1)


def _noting(written: list[tuple[int, ...]], way: Callable[..., None]) -> Callable[..., None]:
    def called(self: Editor, node: object, segment_id: str, labelmap: vtk.vtkImageData, *rest: int) -> None:
        written.append(labelmap.GetExtent())
        way(self, node, segment_id, labelmap, *rest)

    return called
