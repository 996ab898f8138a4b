"""A slice view of Slicer, drawn off screen by Slicer's own displayable manager for segmentations."""

import os

import numpy as np
import slicer
import vtk
import vtkmodules.vtkInteractionStyle
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 - both register themselves
from vtk.util.numpy_support import vtk_to_numpy

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # needs no display

_MANAGER = "vtkMRMLSegmentationsDisplayableManager2D"


class SliceView:
    """A view of segmentations, `size` pixels high and wide; with `with_volume` its volume is drawn behind them."""

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        size: int = 200,
        name: str = "Red",
        orientation: str = "Axial",
        with_volume: bool = False,
    ) -> None:
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
        node = scene.GetNodeByID(f"vtkMRMLSliceNode{name}")  # the application's, where it is one
        if node is None:
            node = self.logic.AddSliceNode(name)
        else:
            self.logic.SetSliceNode(node)
            self.logic.SetSliceCompositeNode(scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}"))
        node.SetOrientation(orientation)
        node.SetMappedInLayout(1)
        self._renderer, self._window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._window.SetSize(size, size)
        self._mapper: vtk.vtkImageMapper | None = None
        if with_volume:
            self._draw_volume()
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self._renderer)
        self._group.SetMRMLDisplayableNode(node)
        self.logic.ResizeSliceNode(size, size)

    def _draw_volume(self) -> None:
        """The picture that the slice logic makes, as qMRMLSliceView shows it."""
        self._mapper, actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor.SetMapper(self._mapper)
        self._renderer.AddViewProp(actor)

    def look_at(self, volume: slicer.vtkMRMLVolumeNode, offset: float) -> None:
        """Fit a volume into the view and go to a position along its normal, mm RAS."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self.logic.FitSliceToBackground()
        self.logic.SetSliceOffset(offset)

    def picture(self) -> np.ndarray:
        """(rows, columns, 3) uint8 as it looks now, first row at the bottom."""
        if self._mapper is not None:
            self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        return _grabbed(self._window)


class SurfaceView:
    """Closed surfaces in a 3D view, seen from the front as radiologists do; `size` pixels high and wide."""

    def __init__(self, size: int = 200) -> None:
        self._renderer, self._window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self._renderer.SetBackground(0.07, 0.07, 0.10)
        self._window.SetOffScreenRendering(1)
        self._window.AddRenderer(self._renderer)
        self._window.SetSize(size, size)

    def picture(self, node: slicer.vtkMRMLSegmentationNode | None) -> np.ndarray:
        """(rows, columns, 3) uint8 of what the segmentation has of closed surfaces, first row at the bottom."""
        self._renderer.RemoveAllViewProps()
        segmentation = node.GetSegmentation() if node is not None else None
        for number in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            self._add(segmentation.GetNthSegment(number), node.GetDisplayNode().GetOpacity3D())
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(0.25, 1, 0.2)  # RAS: anterior, a little from above
        camera.SetViewUp(0, 0, 1)
        self._renderer.ResetCamera()
        camera.Zoom(1.25)
        return _grabbed(self._window)

    def _add(self, segment: slicer.vtkSegment, opacity: float) -> None:
        surface = segment.GetRepresentation(slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName())
        if surface is None:
            return
        mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
        mapper.SetInputData(surface)
        mapper.ScalarVisibilityOff()
        actor.SetMapper(mapper)
        actor.GetProperty().SetColor(*segment.GetColor())
        actor.GetProperty().SetOpacity(opacity)
        self._renderer.AddActor(actor)


def _grabbed(window: vtk.vtkRenderWindow) -> np.ndarray:
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    columns, rows, _ = grabber.GetOutput().GetDimensions()
    return vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(rows, columns, -1)[..., :3].copy()
