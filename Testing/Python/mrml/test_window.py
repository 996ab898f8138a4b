"""The scene adapter reports which grey values the views show as black and as white."""

from typing import Any

import numpy as np
from harness.scene import add_volume

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.mrml import MRMLScene

GEOMETRY = Geometry((4, 3, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def displayed(scene: Any) -> tuple[Any, Any]:
    volume = add_volume(scene, np.arange(24, dtype=np.int16).reshape(GEOMETRY.shape), GEOMETRY)
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    volume.SetAndObserveDisplayNodeID(display.GetID())
    return volume, display


def test_the_window_is_that_of_the_display_node_and_follows_it(scene: Any) -> None:
    volume, display = displayed(scene)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(-160.0, 240.0)
    assert MRMLScene(scene).volume(volume.GetID()).window == (-160.0, 240.0)
    display.SetWindowLevel(1500.0, -600.0)
    assert MRMLScene(scene).volume(volume.GetID()).window == (-1350.0, 150.0)


def test_what_nobody_shows_has_no_window(scene: Any) -> None:
    volume = add_volume(scene, np.zeros(GEOMETRY.shape, np.int16), GEOMETRY)
    assert MRMLScene(scene).volume(volume.GetID()).window is None
    colors = add_volume(scene, np.zeros((*GEOMETRY.shape, 3), np.uint8), GEOMETRY)
    assert MRMLScene(scene).volume(colors.GetID()).window is None
