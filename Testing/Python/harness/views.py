"""A slice view of Slicer, drawn off-screen by Slicer's own displayable manager for segmentations."""

import os

import numpy as np
import slicer
import vtk
import vtkmodules.vtkInteractionStyle
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 - both register themselves
from vtk.util.numpy_support import vtk_to_numpy

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # needs no display

_SIZE = 200  # pixels, high and wide
_MANAGER = "vtkMRMLSegmentationsDisplayableManager2D"


class SliceView:
    """An axial view of segmentations."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        application = scene.logics[0]
        if application.GetSliceLogics() is None:
            application.SetSliceLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        if not factory.IsDisplayableManagerRegistered(_MANAGER):
            factory.RegisterDisplayableManager(_MANAGER)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        self.logic.SetMRMLScene(scene)
        node = self.logic.AddSliceNode("Red")
        node.SetOrientation("Axial")
        node.SetMappedInLayout(1)
        self._renderer, self._window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._window.SetSize(_SIZE, _SIZE)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self._renderer)
        self._group.SetMRMLDisplayableNode(node)
        self.logic.ResizeSliceNode(_SIZE, _SIZE)

    def look_at(self, volume: slicer.vtkMRMLVolumeNode, offset: float) -> None:
        """Fit a volume into the view and go to a position along its normal, mm RAS."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self.logic.FitSliceToBackground()
        self.logic.SetSliceOffset(offset)

    def picture(self) -> np.ndarray:
        """Return (rows, columns, 3) uint8 as it looks now, first row at the bottom."""
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        columns, rows, _ = grabber.GetOutput().GetDimensions()
        return vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, -1)[..., :3].copy()
