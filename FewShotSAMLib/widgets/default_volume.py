"""The volume that a user who opens the module most likely means."""

from __future__ import annotations

import slicer
import slicer.util


def defaultVolumeId() -> str:
    """The id of the volume in the slice views, else of the first in the scene; "" where there is none."""
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = [nodeId for view in views for nodeId in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID())]
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    images = [node for node in volumes if not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors()]
    offered = [node.GetID() for node in images]
    return next((nodeId for nodeId in [*shown, *offered] if nodeId in offered), "")
