"""Shows results in a separate segmentation, slice by slice, before they are applied."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from FewShotSAMLib.mrml.create import newSegmentationNode
from FewShotSAMLib.mrml.grids import matrixOfArray, rasMatrix
from FewShotSAMLib.mrml.segments import newSegment
from FewShotSAMLib.mrml.surfaces import SURFACE, makeSurfaces
from FewShotSAMLib.mrml.volumes import volumeGeometry
from FewShotSAMLib.workflow.scene import SceneSegment

_FIRST_OPACITY = 0.5


class SegmentationPreview:
    """A ScenePreview: one labelmap of the volume's extent that all segments share, written in place.

    The node is not hidden, like those of Slicer's own effects: the application lists it in the Data module, and
    logs an error at every change of a segmentation that is not listed there.

    The labelmap is empty until the first slices arrive. A thread fills it with zeros: if the system has to find memory
    for a large volume, that takes longer than a user interface may freeze.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode, segments: Sequence[SceneSegment]
    ) -> None:
        geometry = volumeGeometry(volume)
        self._scene, self._size, self._isFilled = scene, geometry.size, False
        self._image = slicer.vtkOrientedImageData()
        self._image.SetImageToWorldMatrix(matrixOfArray(rasMatrix(geometry)))
        self._image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)  # only to set the type, as in Slicer's empty segments
        self._scalars = vtk.vtkUnsignedCharArray()
        self._scalars.SetName("ImageScalars")  # as vtkImageData names what it allocates
        self._scalars.SetNumberOfValues(geometry.shape[0] * geometry.shape[1] * geometry.shape[2])
        self._voxels = vtk_to_numpy(self._scalars).reshape(geometry.shape)
        self._filling = Thread(target=self._voxels.fill, args=(0,), name="FewShotSAM preview", daemon=True)
        self._filling.start()
        self._node = newSegmentationNode(scene, volume, "FewShotSAM preview", isTemporary=True)
        for number, segment in enumerate(segments, start=1):
            copy = newSegment(segment.name, segment.color, number, self._image)
            self._node.GetSegmentation().AddSegment(copy, segment.id)
        self.set_opacity(_FIRST_OPACITY)

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode:
        """The segmentation that is shown."""
        return self._node

    @property
    def is_there(self) -> bool:
        """Whether it is still in the scene, where users may delete it."""
        return bool(self._scene.IsNodePresent(self._node))

    def show(self, classes: np.ndarray, axis: int, indices: Sequence[int]) -> None:
        """Add slices as they arrive. classes: (n, rows, columns) uint8, 0 nothing, 1 to C the preview's segments.

        A closed surface stays unchanged until `set_shown_in_3d` is called again: it takes far longer than a slice.
        """
        if not (self.is_there and len(indices)):
            return
        if not self._isFilled:
            self._filling.join()
            self._image.GetPointData().SetScalars(self._scalars)
            self._image.SetDimensions(*self._size)  # this notifies observers, which need the voxels
            self._isFilled = True
        slices = np.moveaxis(self._voxels, axis, 0)
        if list(indices) == list(range(indices[0], indices[0] + len(indices))):
            slices[indices[0] : indices[0] + len(indices)] = classes  # along i, six times as fast as one by one
        else:
            slices[list(indices)] = classes
        # Only the array is marked as modified: if the labelmap were, Slicer would drop the closed surface.
        self._scalars.Modified()
        segmentation = self._node.GetSegmentation()
        segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
        segmentation.InvokeEvent(slicer.vtkSegmentation.RepresentationModified)

    def set_opacity(self, opacity: float) -> None:
        """Set the opacity in the slice views and in 3D, from 0 (invisible) to 1 (opaque)."""
        if self.is_there:
            display = self._node.GetDisplayNode()
            display.SetOpacity2DFill(opacity)
            display.SetOpacity2DOutline(opacity)
            display.SetOpacity3D(opacity)

    def set_shown_in_3d(self, shown: bool) -> None:
        """Create the closed surface of what is there now, as fine as a view can show it, or remove it."""
        if not self.is_there:
            return
        segmentation = self._node.GetSegmentation()
        if shown:
            makeSurfaces(segmentation)
            self._node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(SURFACE)
        else:
            segmentation.RemoveRepresentation(SURFACE)

    def remove(self) -> None:
        """Remove it from the scene; does nothing if the scene was closed meanwhile."""
        if self.is_there:
            display = self._node.GetDisplayNode()
            self._scene.RemoveNode(self._node)
            # The application removes the display node with it; removing it twice would log an error.
            if display is not None and self._scene.IsNodePresent(display):
                self._scene.RemoveNode(display)
