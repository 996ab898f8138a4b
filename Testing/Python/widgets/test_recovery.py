"""The line that offers to restore what was painted before Slicer ended unexpectedly."""

from types import SimpleNamespace
from typing import Any

import slicer


def offered(panel: Any, *volumes: str) -> None:
    """Work on these volumes was left behind."""
    panel.session.kept.left = [SimpleNamespace(id=name, volume=name, saved=0.0) for name in volumes]
    panel.session.changed.emit()
    panel.wait()


def test_nothing_is_offered_where_nothing_was_left(panel: Any) -> None:
    panel.wait()
    assert not panel.ui.recoveryFrame.visible


def test_what_was_painted_is_brought_back_on_the_chosen_volume(panel: Any, scene: Any) -> None:
    offered(panel, "CTChest", "MRHead")
    assert panel.ui.recoveryFrame.visible and "CTChest" in panel.ui.recoveryLabel.text
    panel.ui.volumeSelector.setCurrentNodeID("")
    panel.ui.restoreWorkButton.click()
    assert not panel.session.kept.put and "No volume is chosen" in panel.ui.messageLabel.text
    volume = scene.volume.GetID()
    panel.ui.volumeSelector.setCurrentNodeID(volume)
    made = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "CTChest segmentation")
    panel.session.kept.restored = made.GetID()
    panel.ui.restoreWorkButton.click()
    ((left, target),) = panel.session.kept.put
    assert left.volume == "CTChest" and target.volume == volume
    assert panel.ui.segmentationSelector.currentNodeID == made.GetID()
    assert panel.session.called("mark_modified")
    assert "MRHead" in panel.ui.recoveryLabel.text
    panel.ui.deleteWorkButton.click()
    assert not panel.ui.recoveryFrame.visible and panel.session.kept.left == []
