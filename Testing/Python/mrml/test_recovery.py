"""What was painted in one scene is restored in the next, with Slicer's own classes."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from harness.scene import add_segmentation, add_volume, paint, voxels

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.workflow import Session
from FewShotSAMLib.workflow.scene import Target

GEOMETRY = Geometry((9, 8, 7), (1.0, 1.5, 2.0), (3.0, -4.0, 5.0))


@pytest.mark.parametrize("is_empty", [False, True])
def test_painting_and_notes_come_back(scene: slicer.vtkMRMLScene, tmp_path: Path, is_empty: bool) -> None:
    """is_empty: into the segmentation that was created for the volume when it was opened."""
    volume = add_volume(scene, np.arange(504, dtype=np.int16).reshape(7, 8, 9), GEOMETRY)
    segmentation = add_segmentation(scene, volume, ["Foie é", "Rate"])
    drawn = np.zeros(GEOMETRY.shape, bool)
    drawn[2, 2:5, 3:6] = drawn[5, 1:4, 2:5] = True
    paint(segmentation, "Foie é", drawn, GEOMETRY)
    first = Session(MRMLScene(scene), temporary=tmp_path, place="panel")
    first.set_inputs(volume.GetID(), segmentation.GetID())
    first.look_now()
    first.set_empty(6, True)
    first.mark_modified()
    first.kept.keep_now(first.target, first._note, None)
    first._job_folder._stream.close()  # as when Slicer crashes

    second = Session(MRMLScene(scene), temporary=tmp_path, place="panel")
    (left,) = second.kept.left
    other = add_volume(scene, np.arange(504, dtype=np.int16).reshape(7, 8, 9), Geometry((9, 8, 7), (2.0, 2.0, 2.0)))
    with pytest.raises(BadInputError, match="another grid"):
        second.kept.put_back(left, Target(other.GetID(), ""))
    chosen = MRMLScene(scene).create_segmentation(volume.GetID()) if is_empty else segmentation.GetID()
    restored = second.kept.put_back(left, Target(volume.GetID(), chosen))
    assert (restored == chosen) is is_empty and second.kept.left == []
    node = scene.GetNodeByID(restored)
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    np.testing.assert_array_equal(voxels(node, "Foie é", GEOMETRY), drawn)
    second.set_inputs(volume.GetID(), restored)
    second.look_now()
    assert [(each.index, each.empty) for each in second.painted] == [(2, False), (5, False), (6, True)]
    second.close()
    assert Session(MRMLScene(scene), temporary=tmp_path, place="panel").kept.left == [], "it was taken over"
