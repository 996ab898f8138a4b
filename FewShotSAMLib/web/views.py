"""The four views: what is shown in them, and which slice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import slicer
from trame.widgets import html
from trame_server import Server
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import RemoteViewFactory
from trame_slicer.views import (
    AbstractView,
    Layout,
    LayoutDirection,
    NoScheduleRendering,
    SliceView,
    ThreeDView,
    ViewLayoutDefinition,
    ViewType,
)
from vtkmodules.vtkCommonCore import vtkCommand

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import axis_of_plane
from FewShotSAMLib.mrml.grids import arrayOfMatrix, rasMatrix
from FewShotSAMLib.web.controls import slice_overlay, volume_overlay
from FewShotSAMLib.web.turns import Turns

PLANES = ("axial", "coronal", "sagittal")
IN_3D = "in3d"
FOUR = "four"
AWAY_FPS = 6.0
"""Most pictures per second of views that the pointer is not over."""
QUALITY = 90
"""JPEG quality of the pictures: that of trame-rca for views at rest; with any other, each would be drawn twice."""
_FIRST = 1.0
"""Priority of an observer that is called before those of the view itself."""
_USES = (
    vtkCommand.MouseMoveEvent,
    vtkCommand.MouseWheelForwardEvent,
    vtkCommand.MouseWheelBackwardEvent,
    vtkCommand.LeftButtonPressEvent,
    vtkCommand.LeftButtonReleaseEvent,
    vtkCommand.MiddleButtonPressEvent,
    vtkCommand.RightButtonPressEvent,
)
_BACKGROUND = "#0b0d11"
_COLORS = {"axial": "#e5534b", "coronal": "#57ab5a", "sagittal": "#e0b83c"}


class Views:
    """Slices are counted along the array axis of a plane.

    `on_moved` is called when a view shows another slice, `on_used` while the pointer is at work in a view.
    """

    def __init__(
        self, app: SlicerApp, server: Server, on_moved: Callable[[], None], on_used: Callable[[], None]
    ) -> None:
        self._app, self._on_moved, self._on_used = app, on_moved, on_used
        self._geometry: Geometry | None = None
        self._fitted: dict[str, tuple[float, ...]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        for kind, view_type, overlay in (
            (SliceView, ViewType.SLICE_VIEW, lambda view: slice_overlay(view.get_singleton_tag())),
            (ThreeDView, ViewType.THREE_D_VIEW, lambda view: volume_overlay()),
        ):
            factory = RemoteViewFactory(
                server,
                # No drawing until it is complete: a view draws after each setting, some sixty times while it is made.
                partial(kind, scheduled_render_strategy=NoScheduleRendering()),
                view_type,
                populate_view_ui_f=lambda _server, _id, view, overlay=overlay: html.Div(overlay(view)),
                rca_encoder="turbo-jpeg",
                interactive_quality=QUALITY,
                blur_fps=AWAY_FPS,
            )
            app.view_manager.register_factory(factory)
        self.layout = LayoutManager(app.scene, app.view_manager, server)
        self.layout.register_layout_dict(_layouts())
        self.layout.set_layout(FOUR)
        self._draw_fast()
        self._turns = Turns(app.view_manager.get_views())
        for view in app.view_manager.get_views():
            used = partial(self._used, view)
            for event in _USES:
                view.interactor().AddObserver(event, used, _FIRST)
        for plane in PLANES:
            self._view(plane).modified.connect(self._moved)
            resized = partial(self._resized, plane)
            self._view(plane).interactor().AddObserver(vtkCommand.WindowResizeEvent, resized, _FIRST)

    @property
    def in_3d(self) -> ThreeDView:
        """The view of surfaces."""
        return self._app.view_manager.get_view(IN_3D)

    def show(self, node: slicer.vtkMRMLVolumeNode, geometry: Geometry) -> None:
        """Show a volume in all slice views, at its middle. 3D shows surfaces only, as volume rendering is too slow."""
        self._geometry = geometry
        self._app.display_manager.show_volume_in_slice_background(node)
        self.reset()
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        self.in_3d.renderer().ResetCamera(bounds)

    def reset(self) -> None:
        """Show all of the volume, at its middle."""
        for plane in PLANES:
            self._view(plane).reset_view()
            self._fitted[plane] = self._field(plane)

    def reset_3d(self) -> None:
        """Show all surfaces."""
        self.in_3d.reset_view()

    def count(self, plane: str) -> int:
        """Number of slices of the volume in this plane."""
        return 0 if self._geometry is None else self._geometry.shape[axis_of_plane(self._geometry, plane)]

    def index(self, plane: str) -> int:
        """The slice that the view of this plane shows."""
        if self._geometry is None:
            return 0
        place = arrayOfMatrix(self._view(plane).get_view_node().GetSliceToRAS())[:, 3]
        indices = np.linalg.inv(rasMatrix(self._geometry)) @ place
        axis = axis_of_plane(self._geometry, plane)
        return int(np.clip(round(float(indices[2 - axis])), 0, self.count(plane) - 1))

    def jump(self, plane: str, index: int) -> None:
        """Show a slice; an index beyond an end counts as that end."""
        if self._geometry is None:
            return
        axis = axis_of_plane(self._geometry, plane)
        place = [(length - 1) / 2 for length in self._geometry.size] + [1.0]
        place[2 - axis] = float(np.clip(index, 0, self.count(plane) - 1))
        view = self._view(plane)
        with view.trigger_modified_once():
            view.get_view_node().JumpSliceByOffsetting(*(rasMatrix(self._geometry) @ place)[:3])

    def set_layout(self, name: str) -> None:
        """Choose `four`, or a plane: its view is shown large next to the 3D view."""
        self._turns.end()  # before the views that the new layout lacks are blocked
        self.layout.set_layout(name)

    def poll(self) -> None:
        """Draw the views that have waited for the one in use."""
        self._turns.poll()

    def redraw(self) -> None:
        """Draw all views again."""
        for view in self._app.view_manager.get_views():
            view.schedule_render()

    def _view(self, plane: str) -> SliceView:
        return self._app.view_manager.get_view(plane)

    def _field(self, plane: str) -> tuple[float, ...]:
        """The part of the slice that the view shows; zooming and panning change it."""
        node = self._view(plane).get_view_node()
        return (*node.GetFieldOfView(), *node.GetXYZOrigin())

    def _resized(self, plane: str, *_: object) -> None:
        """Fit the volume into the view's new size, unless the user has zoomed or panned.

        A volume that is opened at the start is fitted long before the browser reports how large its views are.
        """
        size, fitted = tuple(self._view(plane).render_window().GetSize()), self._fitted.get(plane)
        if size == self._sizes.get(plane):
            return  # the event comes with every picture
        self._sizes[plane] = size
        if self._geometry is None or fitted is None or not np.allclose(fitted, self._field(plane), rtol=1e-6):
            return  # not exactly equal: adopting a size changes the last digits
        index = self.index(plane)
        self._view(plane).fit_view_to_content()  # adopts the new size, and shows the middle
        self.jump(plane, index)
        self._fitted[plane] = self._field(plane)

    def _draw_fast(self) -> None:
        """Turn multisampling off: without a GPU it takes most of the time, and slices do not need it."""
        for view in self._app.view_manager.get_views():
            view.render_window().SetMultiSamples(0)
        self.in_3d.renderer().SetUseFXAA(True)
        self.in_3d.renderer().SetUseDepthPeeling(False)  # with it, software OpenGL draws no translucent surface

    def _used(self, view: AbstractView, *_: object) -> None:
        self._turns.take(view)
        self._on_used()

    def _moved(self, *_: object) -> None:
        self._on_moved()


def _layouts() -> dict[str, Layout]:
    views = {
        plane: ViewLayoutDefinition.slice_view(plane.capitalize(), label=plane, color=_COLORS[plane])
        for plane in PLANES
    }
    in_3d = ViewLayoutDefinition.threed_view(name=IN_3D, background_color=_BACKGROUND)
    column, row = LayoutDirection.Vertical, LayoutDirection.Horizontal
    left = Layout(column, [views["axial"], views["coronal"]])
    right = Layout(column, [in_3d, views["sagittal"]])
    single = {plane: Layout(row, [views[plane], in_3d], ["2", "1"]) for plane in PLANES}
    return {FOUR: Layout(row, [left, right]), **single}
