"""The browser app: one volume, one segmentation, one session of the workflow, and the page that shows them."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from trame_server import Server
from trame_slicer.core import SlicerApp

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.intensity import PRESETS
from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.web import contents
from FewShotSAMLib.web.choices import choices_contents
from FewShotSAMLib.web.contents import Contents
from FewShotSAMLib.web.controls import BRUSH_PLACES, FIRST_BRUSH_PLACE, BrushScale, shown
from FewShotSAMLib.web.folder import SEGMENTATION_SUFFIX, ServedFolder, WrittenFiles
from FewShotSAMLib.web.model_list import ModelList, earlier_rows
from FewShotSAMLib.web.painting import Painter
from FewShotSAMLib.web.segments import SegmentList
from FewShotSAMLib.web.several import Several
from FewShotSAMLib.web.surfaces import Surfaces
from FewShotSAMLib.web.thumbnails import Thumbnails
from FewShotSAMLib.web.views import PLANES, Views
from FewShotSAMLib.web.volumes import FILL_OPACITY, add_volume, is_ct, remove_nodes, take_volume
from FewShotSAMLib.web.vtk_log import log_vtk_to_file
from FewShotSAMLib.web.web_scene import WebScene
from FewShotSAMLib.worker.client import WorkerClient
from FewShotSAMLib.workflow import ERROR, INFO, WARNING, Message, Progress, Session
from FewShotSAMLib.workflow.autosave import Leftover
from FewShotSAMLib.workflow.facts import InputFacts
from FewShotSAMLib.workflow.scene import export_all
from FewShotSAMLib.workflow.state import State

WORKER_NICENESS = 5
POLL_S = 0.05


class WebApp:
    """Everything that belongs to one server. `actions` holds the page's requests; `poll` is called every 50 ms."""

    def __init__(self, server: Server, folder: ServedFolder, python: Path) -> None:
        self.server, self.folder = server, folder
        self._slicer = SlicerApp()
        log_vtk_to_file()
        self._is_stale, self._places = True, tuple[int, ...]()
        # Views first: brushes look for them when they are created.
        self.views = Views(self._slicer, server, self._moved, self._used)
        self.painter = Painter(self._slicer.segmentation_editor)
        self._client = WorkerClient(python)
        self._polite_pid: int | None = None
        scene = WebScene(self._slicer.scene, self.painter, self.changed_segmentation)
        self.session = Session(scene, self._client, folder=folder.path, place=f"web {folder.path}")
        self.models, self.several = ModelList(folder, self.session.models), Several(folder.path, python)
        self.segments = SegmentList(self._slicer.segmentation_editor)
        self.thumbnails, self.surfaces = Thumbnails(self.session), Surfaces(self._slicer.scene, self.session)
        self.messages, self.facts = contents.Messages(), InputFacts(scene)
        self.volume: Volume | None = None
        self.volume_node: slicer.vtkMRMLVolumeNode | None = None
        self.brush = BrushScale(1.0, 30.0)
        self.extra: Contents = {"folder_name": folder.path.name or str(folder.path), "refusals": 0}
        self._nodes: list[slicer.vtkMRMLDisplayableNode] = []
        self._shown: Contents = {}
        self.written = WrittenFiles(folder)
        self._connect()

    def _connect(self) -> None:
        self.session.changed.connect(self._touch)
        self.session.progressed.connect(self._show_progress)
        self.session.said.connect(self.say)
        self._slicer.segmentation_editor.segmentation_modified.connect(self._edited)
        for brush in self.painter.brushes:
            brush.about_to_change.connect(self.mark_unsaved)

    def open(self, path: Path, then: Callable[[], None] = lambda: None) -> None:
        """Read a volume in the background, then close the previous one and start a segmentation of the new one.

        then: called afterwards.
        """
        self.session.discard()
        output = self.session.scratch / f"opened-{secrets.token_hex(4)}.npy"
        name = self.folder.name_of(path) if self.folder.holds(path) else ""

        def opened(report: dict[str, Any]) -> None:
            self._show_volume(take_volume(report, output), name)
            then()

        self.session.read_volume(path, output, self.folder.path if name else None, opened)

    def wait_until_open(self) -> None:
        """Wait until the volume has been read. Raises BadInputError if it cannot be read."""
        while self.session.is_busy:
            self.session.poll()
            time.sleep(POLL_S)
        if self.volume is None:
            reasons = [each for each in self.messages.said if each.level == ERROR]
            raise BadInputError(reasons[-1].text, reasons[-1].hint) if reasons else BadInputError("Nothing was opened.")

    def restore(self, left: Leftover) -> None:
        """Restore the unsaved work of an earlier server on the volume it belongs to. Raises BadInputError."""
        if self.volume is not None and left.source in ("", self.extra["volume_file"]):
            self._put_back(left)
        elif left.source:
            self.open(self.folder.resolve(left.source), lambda: self._put_back(left))
        else:
            raise BadInputError(f"The file of “{left.volume}” is not known.", "Open that volume, then choose Restore.")

    def _put_back(self, left: Leftover) -> None:
        assert self.session.target is not None
        self.session.kept.put_back(left, self.session.target)
        self.segments.keep_choice()
        self.mark_unsaved()

    def _show_volume(self, volume: Volume, name: str) -> None:
        self.session.kept.forget()
        self.close_volume()
        node = add_volume(self._slicer.scene, volume)
        self.views.show(node, volume.geometry)  # first: the image hides anything drawn before it
        segmentation = self._slicer.scene.GetNodeByID(self.session.scene.create_segmentation(node.GetID()))
        segmentation.GetDisplayNode().SetOpacity2DFill(FILL_OPACITY)  # the image shines through
        self.surfaces.begin(segmentation, node, math.prod(volume.geometry.size))
        self.volume, self.volume_node, self._nodes = volume, node, [*self.surfaces.nodes, segmentation, node]
        self.painter.set_nodes(segmentation, node)
        self.set_tool("")
        self.segments.begin()
        self.brush = BrushScale.of(volume.geometry)
        self.session.set_inputs(node.GetID(), segmentation.GetID())
        self.show(volume_name=volume.name, window_name="abdomen" if is_ct(volume) else "", is_unsaved=False)
        self.show(save_name=self.folder.free_name(volume.name), opacity=50, volume_file=name)
        self.session.kept.source = name
        self.show(windows=[*PRESETS, "auto"] if is_ct(volume) else [])
        self.set_brush(FIRST_BRUSH_PLACE)
        self.messages.clear([INFO, WARNING, ERROR])
        for warning in volume.warnings:
            self.say(Message(WARNING, warning))

    def close_volume(self) -> None:
        """Remove the volume and its segmentation from the scene."""
        self.session.set_inputs(None, None)
        self.surfaces.end()
        self.thumbnails.forget()
        remove_nodes(self._slicer.scene, self._nodes)
        self.volume, self.volume_node, self._nodes = None, None, []

    def set_brush(self, place: int) -> None:
        """Set the brush size by its place on the slider; a place beyond an end counts as that end."""
        place = min(max(place, 0), BRUSH_PLACES)
        diameter = self.brush.diameter(place)
        self.painter.set_diameter(diameter)
        self.show(brush_place=place, brush_mm=shown(diameter))

    def set_tool(self, tool: str) -> None:
        """Choose paint, erase, window, or "" for no tool: then the left button only moves the crosshair."""
        self.painter.set_tool(tool)
        modes = slicer.vtkMRMLInteractionNode
        mode = modes.AdjustWindowLevel if tool == "window" else modes.ViewTransform
        self._slicer.app_logic.GetInteractionNode().SetCurrentInteractionMode(mode)
        self._touch()

    @property
    def is_at_risk(self) -> bool:
        """Whether opening another volume would lose unsaved work."""
        return bool(self.extra.get("is_unsaved")) or self.session.state is State.PREVIEW

    def close(self) -> bool:
        """End the background processes; returns True if there is unsaved work, which the next server will offer."""
        self.several.close()
        self.facts.close()
        is_at_risk = self.is_at_risk
        self.session.close(keep_work=is_at_risk)
        return is_at_risk

    def say(self, message: Message) -> None:
        """Show a message."""
        if message.level != INFO:
            self.messages.clear([INFO])
        self.messages.add(message)
        self._touch()

    def complain(self, error: FewShotSAMError) -> None:
        """Show what went wrong."""
        self.say(Message(ERROR, error.message, error.hint))

    def show(self, **values: object) -> None:
        """Set values of the page's state that belong to no other part."""
        self.extra.update(values)
        self._touch()

    def ask(self, dialog: str, subject: object = True, **values: object) -> None:
        """Open a dialog once its contents are up to date, so that nobody ticks or picks from the previous list.

        dialog: the state value that opens it; the page, to which it belongs, resets it to close the dialog. subject:
        what it is set to. values: what the dialog shows.
        """
        self.show(**values)
        self._refresh()
        self.server.state[dialog] = subject

    def mark_unsaved(self) -> None:
        """Note that there is unsaved work."""
        self.show(is_unsaved=True)

    @property
    def work_axis(self) -> int:
        """The array axis along which slices are painted; 0, that is k, before any is painted."""
        return 0 if self.session.axis is None else self.session.axis

    @property
    def work_plane(self) -> str:
        """The plane of the slices that are painted."""
        return "axial" if self.volume is None else slice_plane(self.volume.geometry, self.work_axis).name

    def segmentation_file(self) -> bytes:
        """The segmentation as a file to download. Raises BadInputError."""
        if self.session.target is None:
            raise BadInputError("There is nothing to save.", "Open a volume first.")
        with tempfile.TemporaryDirectory(prefix="fewshotsam-") as folder:
            path = Path(folder) / f"segmentation{SEGMENTATION_SUFFIX}"
            export_all(self.session.scene, self.session.target, path)
            return path.read_bytes()

    def poll(self) -> None:
        """Take the next small steps and show what has changed."""
        self.session.poll()
        self._put_views_first()
        self.views.poll()
        if self.thumbnails.poll() or self.messages.expire() or self.facts.poll() or self.several.poll():
            self._touch()
        if self.surfaces.poll(is_calm=not self.session.is_busy):
            self.views.reset_3d()
        if self._is_stale:
            self._refresh()

    def _put_views_first(self) -> None:
        """Let drawing go before the background process: a run takes little longer, and the views stay responsive."""
        pid = self._client.pid
        if pid is not None and pid != self._polite_pid:
            self._polite_pid = pid
            with contextlib.suppress(AttributeError, OSError):  # not on Windows; or the process has just ended
                os.setpriority(os.PRIO_PROCESS, pid, WORKER_NICENESS)

    def _moved(self) -> None:
        """React to a view that shows another slice or was zoomed."""
        places = tuple(map(self.views.index, PLANES))
        if places != self._places:
            self._places = places
            self.painter.finish_stroke()
            self.surfaces.postpone()
        self._touch()

    def _used(self) -> None:
        """React to the pointer at work in a view."""
        self.surfaces.postpone()

    def _touch(self, *_: object) -> None:
        self._is_stale = True

    def _edited(self, *_: object) -> None:
        self.session.mark_modified()
        self.thumbnails.look_soon()
        self.surfaces.look_soon()
        self._touch()

    def changed_segmentation(self) -> None:
        """React to segments changed other than by a brush: by a result, Undo, or the list of segments."""
        self.segments.keep_choice()
        self.mark_unsaved()
        self._edited()
        self.views.redraw()

    def _show_progress(self, progress: Progress) -> None:
        self.show(progress=contents.progress_row(progress))

    def _refresh(self) -> None:
        self._is_stale = False
        new = contents.changes(self._contents(), self._shown)
        self._shown.update(new)
        with self.server.state as state:
            state.update(new)

    def _contents(self) -> Contents:
        session, plane, geometry = self.session, self.work_plane, None if self.volume is None else self.volume.geometry
        places = {f"at_{each}": self.views.index(each) for each in PLANES}
        segments = self._scene_segments()
        lasts = {f"last_{each}": max(0, self.views.count(each) - 1) for each in PLANES}
        return {
            **contents.session_contents(session, self.views.count(plane) if self.volume else 0),
            **choices_contents(self.session, geometry, self.work_axis, self.extra["refusals"]),
            "models": self.models.rows(),
            "earlier": earlier_rows(session.earlier_models(self.models.entries())),
            "several": self.several.contents(),
            "has_model": self.session.learned_model is not None,
            "leftovers": contents.leftover_rows(self.session.kept.left),
            "facts": contents.facts_contents(self.facts.look(session.target, session.found, self.volume)),
            "segments": contents.segment_rows(segments),
            "active_segment": self.segments.chosen,
            "painted": contents.painted_rows(self.session.painted, self.thumbnails.picture, segments),
            "absent": contents.absent_rows(self.session.painted, places[f"at_{plane}"], segments),
            "work_plane": plane,
            "work_slice": places[f"at_{plane}"],
            "can_mark_empty": bool(self.session.painted),
            "tool": self.painter.tool,
            "can_undo": self.painter.can_undo and not self.session.is_busy,
            "can_redo": self.painter.can_redo and not self.session.is_busy,
            "show_3d": self.surfaces.are_shown,
            "layout": self.views.layout.layout_id,
            "messages": list(self.messages.rows),
            **places,
            **lasts,
            **self.extra,
        }

    def _scene_segments(self) -> list:
        return [] if self.session.target is None else self.session.scene.segments(self.session.target)
