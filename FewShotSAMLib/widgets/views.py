"""The slice views: which slice of the volume they show, and how to show another."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from FewShotSAMLib.mrml.grids import arrayOfMatrix
from FewShotSAMLib.mrml.nodes import nodesOf
from FewShotSAMLib.mrml.places import worldMatrix

_ALIGNED = 0.9  # least cosine between a view's normal and an axis for the view to count as showing slices along it
_PARALLEL = float(np.cos(np.radians(0.5)))  # the same for a view that shows whole slices: 2 mm across a body


class SliceViews:
    """Addresses slices by their index along an array axis (0 = k, 1 = j, 2 = i) of a volume in any orientation.

    Under a nonlinear transform, a volume has no slices in the views, as its own are bent.
    """

    def sliceCount(self, volumeId: str, axis: int) -> int:
        """How many slices the volume has along the axis; 0 if it has no voxels."""
        volume = slicer.mrmlScene.GetNodeByID(volumeId)
        image = volume.GetImageData() if volume is not None else None
        return 0 if image is None else int(image.GetDimensions()[2 - axis])

    def currentSlice(self, volumeId: str, axis: int) -> int | None:
        """The slice in the view that is best aligned with them; None if no view is, or it is outside the volume."""
        matrix = self._ijkToWorld(volumeId)
        views = self._viewsAlong(matrix, axis) if matrix is not None else []
        if matrix is None or not views:
            return None
        center = arrayOfMatrix(views[0].GetSliceToRAS())[:, 3]
        index = round(float((np.linalg.inv(matrix) @ center)[2 - axis]))
        return index if 0 <= index < self.sliceCount(volumeId, axis) else None

    def jumpTo(self, volumeId: str, axis: int, index: int) -> None:
        """Show the slice in every view along the axis; the position within the slice stays."""
        matrix = self._ijkToWorld(volumeId)
        if matrix is None:
            return
        ijk = [(self.sliceCount(volumeId, 2 - i) - 1) / 2 for i in range(3)]
        ijk[2 - axis] = index
        position = matrix @ np.array([*ijk, 1.0])
        for view in self._viewsAlong(matrix, axis):
            view.JumpSliceByOffsetting(*position[:3])

    def areTilted(self, volumeId: str) -> bool:
        """Whether a view in the layout is oblique to the volume's slices along each axis: a stroke would cross many."""
        matrix = self._ijkToWorld(volumeId)
        if matrix is None:
            return False
        normals = [_normal(view) for view in self._views() if view.IsMappedInLayout()]
        return any(np.abs(_sliceNormals(matrix) @ normal).max() < _PARALLEL for normal in normals)

    def rotateTo(self, volumeId: str) -> None:
        """Rotate the views in the layout so that they show whole slices of the volume."""
        volume = slicer.mrmlScene.GetNodeByID(volumeId)
        isShown = self._ijkToWorld(volumeId) is not None
        for view in self._views():
            if isShown and view.IsMappedInLayout():
                view.RotateToVolumePlane(volume)

    def _views(self) -> list[Any]:
        return nodesOf(slicer.mrmlScene, "vtkMRMLSliceNode")

    def _ijkToWorld(self, volumeId: str) -> np.ndarray | None:
        volume = slicer.mrmlScene.GetNodeByID(volumeId)
        if volume is None:
            return None
        ijkToRas, rasToWorld = vtk.vtkMatrix4x4(), worldMatrix(volume)
        volume.GetIJKToRASMatrix(ijkToRas)
        ijkToWorld = None if rasToWorld is None else rasToWorld @ arrayOfMatrix(ijkToRas)
        return None if ijkToWorld is None or np.linalg.det(ijkToWorld) == 0 else ijkToWorld

    def _viewsAlong(self, matrix: np.ndarray, axis: int) -> list[Any]:
        """The aligned slice nodes, the best first, and the red one before others of the same angle."""
        direction = _sliceNormals(matrix)[2 - axis]
        found = []
        for number, node in enumerate(self._views()):
            cosine = abs(float(_normal(node) @ direction))
            if cosine >= _ALIGNED:
                found.append((-round(cosine, 3), node.GetName() != "Red", number, node))
        return [entry[-1] for entry in sorted(found, key=lambda entry: entry[:3])]


def _normal(view: Any) -> np.ndarray:
    return arrayOfMatrix(view.GetSliceToRAS())[:3, 2]


def _sliceNormals(ijkToWorld: np.ndarray) -> np.ndarray:
    """(3, 3) unit normals of the slices along i, j and k; under shear they do not point to the next slice's origin."""
    normals = np.linalg.inv(ijkToWorld)[:3, :3]
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
