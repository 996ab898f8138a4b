"""A real MRML scene without the Slicer application, and what tests do in it: load, paint, read back, watch for errors.

Everything here uses Slicer's own classes and nothing of FewShotSAMLib.mrml, so that it can check the latter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from FewShotSAMLib.core.geometry import Geometry

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LABELMAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


def new_scene() -> slicer.vtkMRMLScene:
    """Return a scene that knows the nodes of Slicer's modules; the logics live as long as it does."""
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
    segmentations.SetMRMLApplicationLogic(application)
    segmentations.SetMRMLScene(scene)
    scene.logics = (application, segmentations)
    return scene


@contextmanager
def watched_scene() -> Iterator[slicer.vtkMRMLScene]:
    """Provide an empty scene for a block. VTK and Slicer may print no warning or error in it."""
    found: list[tuple[str, str]] = []

    def observe(_caller: vtk.vtkObject, event: str, text: str) -> None:
        found.append((event, text))

    observe.CallDataType = vtk.VTK_STRING  # type: ignore[attr-defined]
    before, verbosity = vtk.vtkOutputWindow.GetInstance(), vtk.vtkLogger.GetCurrentVerbosityCutoff()
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToNever()
    for kind in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(kind, observe)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        made = new_scene()
        yield made
        # As the application's plug-ins do for removed nodes; else a later node at the same address finds their items.
        if (hierarchy := made.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")) is not None:
            hierarchy.RemoveAllItems()
        made.Clear(True)
    finally:
        vtk.vtkOutputWindow.SetInstance(before)
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
    assert found == []


def add_volume(
    scene: slicer.vtkMRMLScene, voxels: np.ndarray, geometry: Geometry, name: str = "volume"
) -> slicer.vtkMRMLVolumeNode:
    """Add a volume node with a copy of `voxels`, (K, J, I) or (K, J, I, components)."""
    is_scalar = voxels.ndim == 3
    image = vtk.vtkImageData()
    image.SetDimensions(*geometry.size)
    flat = voxels.ravel() if is_scalar else voxels.reshape(-1, voxels.shape[3])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(flat), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode" if is_scalar else "vtkMRMLVectorVolumeNode", name)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(vtk_matrix(RAS @ geometry.index_to_physical()))
    return node


def vtk_matrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """Convert a 4 × 4 array to a VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def add_segmentation(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode, names: Sequence[str]
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation in the volume's geometry with empty segments of these names."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in names:
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


def labelmap(mask: np.ndarray, to_ras: np.ndarray, first: Sequence[int] = (0, 0, 0)) -> slicer.vtkOrientedImageData:
    """Return a labelmap with a copy of `mask` (k, j, i); `first`: index (k, j, i) of its first voxel."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(vtk_matrix(to_ras))
    extent = [edge for o, n in zip(reversed(first), reversed(mask.shape), strict=True) for edge in (o, o + n - 1)]
    image.SetExtent(*extent)
    scalars = numpy_to_vtk(np.ascontiguousarray(mask.view(np.uint8) if mask.dtype == bool else mask).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def store(
    node: slicer.vtkMRMLSegmentationNode, image: slicer.vtkOrientedImageData, values: dict[str, int]
) -> slicer.vtkOrientedImageData:
    """Let segments share a labelmap with these label values, as Slicer's readers do."""
    for name, value in values.items():
        segment = node.GetSegmentation().GetSegment(name)
        segment.SetLabelValue(value)
        segment.AddRepresentation(LABELMAP, image)
    return image


def paint(
    node: slicer.vtkMRMLSegmentationNode, name: str, mask: np.ndarray, geometry: Geometry, overwrites: bool = True
) -> None:
    """Paint voxels (K, J, I) bool with Slicer's own logic; other segments there are overwritten, or stay as well."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = labelmap(mask, RAS @ geometry.index_to_physical())
    others = [each for each in node.GetSegmentation().GetSegmentIDs() if each != name and overwrites]
    assert logic.SetBinaryLabelmapToSegment(image, node, name, logic.MODE_MERGE_MASK, image.GetExtent(), False, others)


def only(array: np.ndarray, axis: int, indices: Sequence[int]) -> np.ndarray:
    """Return a copy of an array (K, J, I) on these slices, with 0 on the others."""
    found = np.zeros_like(array)
    np.moveaxis(found, axis, 0)[list(indices)] = np.moveaxis(array, axis, 0)[list(indices)]
    return found


def voxels(node: slicer.vtkMRMLSegmentationNode, name: str, geometry: Geometry) -> np.ndarray:
    """Return (K, J, I) bool: a segment on a grid, by Slicer's own resampling."""
    found = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(name, found)
    extent = found.GetExtent()
    if any(extent[2 * axis] > extent[2 * axis + 1] for axis in range(3)):
        return np.zeros(geometry.shape, bool)
    reference = labelmap(np.zeros(geometry.shape, np.uint8), RAS @ geometry.index_to_physical())
    resampled = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample
    assert resample.ResampleOrientedImageToReferenceOrientedImage(found, reference, resampled, False, False)
    return vtk_to_numpy(resampled.GetPointData().GetScalars()).reshape(geometry.shape) > 0


def stored(node: slicer.vtkMRMLSegmentationNode) -> dict[str, tuple[Any, ...]]:
    """Return all that a segmentation stores, bit for bit, to compare before and after."""
    segmentation = node.GetSegmentation()
    found = {}
    for name in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(name)
        image = segment.GetRepresentation(LABELMAP)
        scalars = image.GetPointData().GetScalars()
        content = b"" if scalars is None else vtk_to_numpy(scalars).tobytes()
        found[name] = (segment.GetName(), segment.GetColor(), segment.GetLabelValue(), image.GetExtent(), content)
    return found


class EditorWidget:
    """Stands in for qMRMLSegmentEditorWidget: a settings node, and a private logic."""

    def __init__(self, scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLSegmentationNode) -> None:
        self._node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self._node.SetAndObserveSegmentationNode(node)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self._node)
        self.saved = 0

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode:
        """The node with the user's settings."""
        return self._node

    def saveStateForUndo(self) -> None:
        """Remember the segmentation as it is."""
        self.saved += 1
        assert self._logic.SaveStateForUndo()

    def undo(self) -> None:
        """What the Undo button does."""
        assert self._logic.CanUndo()
        self._logic.Undo()

    def canUndo(self) -> bool:
        """Whether the Undo button is enabled."""
        return bool(self._logic.CanUndo())
