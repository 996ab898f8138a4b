"""What the module does to the scene leaves no line in the application's error log; each would fail the test."""

from typing import Any

import numpy as np
import slicer
from harness.scene import add_segmentation

from FewShotSAMLib.mrml import MRMLScene
from FewShotSAMLib.workflow import Target


def test_a_preview_from_its_opening_to_its_end(scene: Any) -> None:
    """Slicer's subject hierarchy observes it, so it must be part of that."""
    segmentation = add_segmentation(slicer.mrmlScene, scene.volume, ["liver"])
    mrml = MRMLScene()
    preview = mrml.open_preview(Target(scene.volume.GetID(), segmentation.GetID()), ["liver"])
    classes = np.zeros((2, 30, 20), np.uint8)
    classes[:, 10:20, 5:15] = 1
    preview.show(classes, 0, [4, 5])
    preview.set_opacity(0.3)
    preview.set_shown_in_3d(True)
    preview.set_shown_in_3d(False)
    preview.remove()


def test_a_new_segmentation_and_its_end(scene: Any) -> None:
    created = MRMLScene().create_segmentation(scene.volume.GetID())
    node = slicer.mrmlScene.GetNodeByID(created)
    node.GetSegmentation().AddEmptySegment("more", "more")
    node.GetDisplayNode().SetSegmentVisibility("more", False)
    slicer.mrmlScene.RemoveNode(node)


def test_a_segmentation_that_is_removed_while_it_is_chosen(panel: Any, scene: Any) -> None:
    """Slicer's Segment Editor accepts no source volume without a segmentation."""
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode"))
