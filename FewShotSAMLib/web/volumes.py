"""Brings volumes into the scene: read by core, so that the same files open here, on the command line and in Slicer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.intensity import PRESETS
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.mrml.grids import matrixOfArray, rasMatrix
from FewShotSAMLib.mrml.nodes import MODALITY

AIR_HU = -500
"""No MR volume has values below it; nearly every CT volume has."""
FIRST_CT_WINDOW = "abdomen"
ALL_COLORS = (255.0, 127.5)
"""Window width and level that show a photograph unchanged."""
FILL_OPACITY = 0.4
"""Opacity of painted segments in slice views."""


def take_volume(report: Mapping[str, Any], output: Path) -> Volume:
    """Load the volume that `worker.reading` wrote, and delete its file."""
    voxels = np.load(output, allow_pickle=False)
    output.unlink()
    geometry = Geometry.from_json(report["geometry"])
    return Volume(voxels, geometry, str(report["name"]), tuple(report["warnings"]), str(report["modality"]))


def add_volume(scene: slicer.vtkMRMLScene, volume: Volume) -> slicer.vtkMRMLVolumeNode:
    """A node with the voxels and geometry of a volume, shown in its usual window."""
    kind = "vtkMRMLVectorVolumeNode" if volume.is_rgb else "vtkMRMLScalarVolumeNode"
    node = scene.AddNewNodeByClass(kind, volume.name)
    node.SetIJKToRASMatrix(matrixOfArray(rasMatrix(volume.geometry)))
    node.SetAndObserveImageData(_image(volume))
    node.SetAttribute(MODALITY, volume.modality or None)
    node.CreateDefaultDisplayNodes()
    if is_ct(volume):
        set_window(node, *window_of(FIRST_CT_WINDOW))
    elif volume.is_rgb and volume.voxels.dtype == np.uint8:
        set_window(node, *ALL_COLORS)
    return node


def _image(volume: Volume) -> vtk.vtkImageData:
    image = vtk.vtkImageData()
    image.SetDimensions(*volume.geometry.size)
    components = volume.voxels.shape[3] if volume.is_rgb else 1
    values = np.ascontiguousarray(volume.voxels).reshape(-1, components)
    image.GetPointData().SetScalars(numpy_to_vtk(values if volume.is_rgb else values.ravel(), deep=True))
    return image


def is_ct(volume: Volume) -> bool:
    """Whether it is a CT, according to DICOM or, if that says nothing, to values that look like Hounsfield units."""
    if volume.modality:
        return volume.modality == "CT"
    return not volume.is_rgb and bool(volume.voxels.min() < AIR_HU)


def window_of(name: str) -> tuple[float, float]:
    """Width and level of a CT window, such as lung. Raises KeyError for an unknown name."""
    level, width = PRESETS[name]
    return float(width), float(level)


def set_window(node: slicer.vtkMRMLVolumeNode, width: float, level: float) -> None:
    """Set the window: width and level of the values shown."""
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(width, level)


def remove_nodes(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLDisplayableNode]) -> None:
    """Remove nodes from the scene, with their display nodes."""
    for node in nodes:
        displays = [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
        scene.RemoveNode(node)
        for display in filter(None, displays):
            scene.RemoveNode(display)
