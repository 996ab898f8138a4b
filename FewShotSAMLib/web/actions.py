"""The page's requests, except those about settings and few-shot models."""

from __future__ import annotations

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web.controls import ACTIONS, BRUSH_STEP
from FewShotSAMLib.web.folder import SEGMENTATION_SUFFIX
from FewShotSAMLib.web.pictures import color_of_hex
from FewShotSAMLib.web.triggers import Triggers, integer, one_of
from FewShotSAMLib.web.views import FOUR, PLANES
from FewShotSAMLib.web.volumes import set_window, window_of
from FewShotSAMLib.workflow import ERROR, INFO, WARNING

TOOLS = ("window", "paint", "erase", "")


class Actions(Triggers):
    """Files, views, tools, segments and the run."""

    # Files

    def list_volumes(self) -> None:
        """Show the volumes that can be opened."""
        self._app.ask("show_volumes", volumes=self._app.folder.volumes())

    def open(self, name: str, drop: bool = False) -> None:
        """Open a volume of the served folder. The page asks before unsaved work is discarded."""
        self._need_rest()
        path = self._app.folder.resolve(str(name))
        if self._app.is_at_risk and drop is not True:
            self._app.ask("doomed_open", str(name))
            return
        self._app.open(path)

    def save(self, name: str, replace: bool = False) -> None:
        """Save all segments, including hidden ones, in the served folder. The page asks before replacing a file that
        this session did not write."""
        self._need_volume()
        path = self._app.folder.output(str(name))
        if not self._app.written.may_replace(path) and replace is not True:
            stem = self._app.folder.name_of(path).removesuffix(SEGMENTATION_SUFFIX)
            self._app.ask("doomed_save", self._app.folder.name_of(path), free_name=self._app.folder.free_name(stem))
            return
        if self._app.session.export(path):
            self._app.written.note(path)
            self._app.show(is_unsaved=False, save_name=self._app.folder.name_of(path))

    def restore(self, left: str) -> None:
        """Restore the unsaved work of an earlier server."""
        self._need_rest()
        found = self._app.session.kept.find(str(left))
        if found is None:
            return
        if self._app.is_at_risk:
            raise BadInputError("The current segmentation is not saved.", "Save it first, then choose Restore.")
        self._app.restore(found)

    def forget(self, left: str) -> None:
        """Delete the unsaved work of an earlier server."""
        found = self._app.session.kept.find(str(left))
        if found is not None:
            self._app.session.kept.drop(found)
            self._app.show()

    # Views

    def jump(self, plane: str, index: float) -> None:
        """Show a slice in the view of a plane."""
        self._app.views.jump(one_of(plane, PLANES), integer(index))

    def go_to(self, index: float) -> None:
        """Show a slice in the view of the plane that is painted."""
        self._app.views.jump(self._app.work_plane, integer(index))

    def enlarge(self, plane: str) -> None:
        """Show the view of a plane large, or all four again."""
        is_four = self._app.views.layout.layout_id == FOUR
        self._app.views.set_layout(one_of(plane, PLANES) if is_four else FOUR)
        self._app.show()

    def reset_views(self) -> None:
        """Show all of the volume in all views."""
        self._app.views.reset()

    def reset_3d(self) -> None:
        """Show all surfaces."""
        self._app.views.reset_3d()

    def toggle_3d(self) -> None:
        """Show or hide the surfaces."""
        self._app.surfaces.show(not self._app.surfaces.are_shown)
        self._app.show()

    def set_window(self, name: str) -> None:
        """Set a CT window by name, or `auto`."""
        self._need_volume()
        assert self._app.volume_node is not None
        if name == "auto":
            self._app.volume_node.GetDisplayNode().SetAutoWindowLevel(True)  # from the histogram
        else:
            set_window(self._app.volume_node, *window_of(name))
        self._app.show(window_name=name)

    # Tools

    def set_tool(self, tool: str) -> None:
        """Choose a tool; choosing the current one again puts it away."""
        tool = one_of(tool, TOOLS)
        self._need_volume()
        self._app.set_tool("" if tool == self._app.painter.tool else tool)

    def set_brush(self, place: float) -> None:
        """Set the brush size by its place on the slider, 0 to 100."""
        self._app.set_brush(integer(place))

    def undo(self) -> None:
        """Undo the last change."""
        if not self._app.session.is_busy:
            self._app.painter.undo()
            self._app.changed_segmentation()

    def redo(self) -> None:
        """Redo the change that was undone last."""
        if not self._app.session.is_busy:
            self._app.painter.redo()
            self._app.changed_segmentation()

    def key(self, chord: str, view: str) -> None:
        """Handle a key that was pressed while the pointer was over a view."""
        action = ACTIONS[chord]
        plane = view if view in PLANES else self._app.work_plane
        if action in ("slice_up", "slice_down"):
            self._app.views.jump(plane, self._app.views.index(plane) + (1 if action == "slice_up" else -1))
        elif action in ("brush_smaller", "brush_larger"):
            self._app.set_brush(
                self._app.extra["brush_place"] + (BRUSH_STEP if action == "brush_larger" else -BRUSH_STEP)
            )
        elif action in ("paint", "erase", "window", "no_tool"):
            self._need_volume()
            self._app.set_tool("" if action == "no_tool" else action)
        elif action == "propagate" and self._app.session.is_busy:
            return
        else:
            getattr(self, action)()

    # Segments

    def add_segment(self) -> None:
        """Add an empty segment."""
        self._need_volume()
        self._app.painter.saveStateForUndo()
        self._app.segments.add()
        self._app.changed_segmentation()

    def choose_segment(self, segment_id: str) -> None:
        """Choose the segment to paint."""
        self._app.segments.choose(str(segment_id))
        self._app.show()

    def rename_segment(self, segment_id: str, name: str) -> None:
        """Rename a segment."""
        self._app.segments.rename(str(segment_id), str(name))
        self._app.changed_segmentation()

    def color_segment(self, segment_id: str, color: str) -> None:
        """Set a segment's colour, #rrggbb."""
        self._app.segments.color(str(segment_id), color_of_hex(str(color)))
        self._app.changed_segmentation()

    def show_segment(self, segment_id: str, visible: bool) -> None:
        """Show or hide a segment."""
        self._app.segments.show(str(segment_id), bool(visible))
        self._app.changed_segmentation()

    def remove_segment(self, segment_id: str) -> None:
        """Remove a segment."""
        self._app.painter.saveStateForUndo()
        self._app.segments.remove(str(segment_id))
        self._app.changed_segmentation()

    # Painted slices and the run

    def mark_empty(self) -> None:
        """Declare that the slice shown holds no segment."""
        self._need_volume()
        plane = self._app.work_plane
        self._app.session.set_empty(self._app.views.index(plane), True)
        self._app.mark_unsaved()

    def mark_absent(self, index: float, segment_id: str, absent: bool) -> None:
        """Declare that a slice holds none of a segment, or undo that."""
        self._need_rest()
        self._app.session.set_empty(integer(index), bool(absent), str(segment_id))
        self._app.mark_unsaved()

    def tick(self, index: float, ticked: bool) -> None:
        """Choose whether to learn from a painted slice."""
        self._app.session.set_ticked(integer(index), bool(ticked))

    def delete_slice(self, index: float) -> None:
        """Erase a painted slice, or no longer declare it empty."""
        number = integer(index)
        row = next((each for each in self._app.session.painted if each.index == number), None)
        if row is not None and row.empty:
            self._app.session.set_empty(number, False)
        elif row is not None:
            self._app.session.delete_slice(number)
            self._app.changed_segmentation()

    def propagate(self, whole: bool = False) -> None:
        """Start a run."""
        self._app.messages.clear([INFO, WARNING, ERROR])
        self._app.session.propagate(bool(whole))

    def cancel(self) -> None:
        """Stop the run."""
        self._app.session.cancel()

    def use_first_answer(self) -> None:
        """Stop learning and take the current preview as the result."""
        self._app.session.use_first_answer()

    def set_opacity(self, percent: float) -> None:
        """Set the opacity of the preview, 0 to 100."""
        number = min(max(integer(percent), 0), 100)
        if self._app.session.preview is not None:
            self._app.session.preview.set_opacity(number / 100)
        self._app.show(opacity=number)

    def apply(self) -> None:
        """Write the result into the segments."""
        self._app.session.apply()
        self._app.changed_segmentation()

    def discard(self) -> None:
        """Discard the result."""
        self._app.session.discard()
        self._app.views.redraw()

    def next_slice(self) -> None:
        """Show the slice where painting helps most."""
        index = self._app.session.next_slice()
        if index is not None:
            self._app.views.jump(self._app.work_plane, index)

    def dismiss(self, number: float) -> None:
        """Dismiss a message."""
        self._app.messages.dismiss(integer(number))
        self._app.show()
