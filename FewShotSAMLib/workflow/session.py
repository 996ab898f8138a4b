"""The whole workflow without any widget: paint, propagate, review, apply, correct, and again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.worker.client import WorkerClient
from FewShotSAMLib.workflow.applying import Applying
from FewShotSAMLib.workflow.computer import CANCELLABLE, ComputerMixin
from FewShotSAMLib.workflow.earlier import EarlierModelsMixin
from FewShotSAMLib.workflow.job import PREPARING, Job
from FewShotSAMLib.workflow.job_folder import JobFolder
from FewShotSAMLib.workflow.message import CANCELLED, INFO, WARNING, Message, message_of, message_of_bug, reporting
from FewShotSAMLib.workflow.model_library import (
    MODEL_SAVED,
    SAVED_WITH_EARLIER,
    SAVED_WITHOUT_IMAGE,
    ModelEntry,
    ModelLibrary,
)
from FewShotSAMLib.workflow.recovery import Recovery
from FewShotSAMLib.workflow.requests import Requests
from FewShotSAMLib.workflow.review import Review
from FewShotSAMLib.workflow.run import Run, RunFiles, plan_run, take_written
from FewShotSAMLib.workflow.scene import Scene, ScenePreview, Target, export_all, missing_nodes
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.state import BUSY, Signal, State, why_inputs_change
from FewShotSAMLib.workflow.thumbnails import thumbnail
from FewShotSAMLib.workflow.tracker import PaintingMixin, PaintingTracker, why_no_exemplars
from FewShotSAMLib.workflow.work import LastModel, learns_like, work_of


class Session(ComputerMixin, PaintingMixin, EarlierModelsMixin):
    """One volume, one segmentation, one background process. Call all methods in the main thread; none blocks.

    A view connects to the signals, calls `poll` every 50 ms or so, and shows the attributes. Errors are reported
    through `said`, never raised, unless a method's docstring says otherwise.

    folder: of the user's few-shot models. client: None for a process of this Python. temporary: parent of the job
    folder, None for the system's temporary folder; raises BadInputError if it cannot be written. applied: outcome of
    the last `apply_model`. place: see `Autosave`.
    """

    def __init__(
        self,
        scene: Scene,
        client: WorkerClient | None = None,
        settings: Settings | None = None,
        folder: Path | None = None,
        temporary: Path | None = None,
        place: str = "",
    ) -> None:
        self.scene, self.settings = scene, settings or Settings()
        self.changed, self.progressed, self.said, self.logged = Signal(), Signal(), Signal(), Signal()
        self.state = State.IDLE
        self.target: Target | None = None
        self.range: tuple[int, int] | None = None
        self.review: Review | None = None
        self._job_folder = JobFolder(temporary)
        self.scratch = self._job_folder.path
        self.models = ModelLibrary(folder or self._job_folder.path / "models")
        self._files = RunFiles(self._job_folder.path)
        self._executor = ThreadPoolExecutor(1, "fewshotsam")
        self._tracker = PaintingTracker(scene, self._executor, self.said.emit)
        observers = (self.progressed.emit, self.said.emit, self.logged.emit)
        self._requests = Requests(client or WorkerClient(), *observers, self._end)
        self.applied: Applying | None = None
        self.kept = Recovery(scene, self._job_folder.path, place, self._tracker, self.said.emit)
        self._run: Run | None = None
        self._applying: Applying | None = None
        self._learned: LastModel | None = None
        self._is_wanted, self._is_whole, self._failure, self._incomplete = False, False, "", []

    @property
    def preview(self) -> ScenePreview | None:
        """The result as it arrives, until it is applied or discarded."""
        return None if self._run is None else self._run.preview

    @property
    def is_busy(self) -> bool:
        """Whether Cancel would have something to stop."""
        return self.state in BUSY

    @property
    def learned_model(self) -> Path | None:
        """The few-shot model of the last run, None if there is none; the next run replaces the file."""
        return None if self._learned is None else self._files.model

    def why_not(self) -> str:
        """Why Propagate cannot be pressed, and what to do; "" if it can."""
        if self.is_busy:
            return "A run is under way. Wait until it ends, or cancel it."
        return self._tracker.why_not(self.range) or self._why_not_earlier()

    def thumbnail(self, index: int, longest: int) -> np.ndarray:
        """A slice with its segments in colour, (rows, columns, 3) uint8. Raises BadInputError."""
        assert self.target is not None and self.axis is not None
        segments = self.scene.segments(self.target)
        return thumbnail(self.scene.volume(self.target.volume), segments, self.axis, index, longest)

    def next_slice(self) -> int | None:
        """The slice to paint next, skipping those painted since the last run; None if there is no suggestion."""
        return None if self.review is None else self.review.next_slice(self.painted)

    def set_inputs(self, volume_id: str | None, segmentation_id: str | None) -> None:
        """Switch to another volume or segmentation; a run under way is cancelled, a preview discarded."""
        target = Target(volume_id, segmentation_id) if volume_id and segmentation_id else None
        if target == self.target:
            return
        reason = why_inputs_change(missing_nodes(self.scene, self.target), self.state)
        self._drop_run()
        self.target, self.review, self.range = target, None, None
        self._tracker.set_target(target)
        self.changed.emit()
        if reason:
            self.said.emit(Message(WARNING, reason, "Choose a volume and a segmentation, and propagate again."))

    def mark_modified(self) -> None:
        """Note that the segmentation was edited; call this at every edit."""
        self._tracker.look_soon()
        self.kept.mark()

    def set_axis(self, axis: int | None) -> None:
        """Set the axis along which slices are painted; None to detect it."""
        self._tracker.set_axis(axis)
        self.changed.emit()

    def set_ticked(self, index: int, ticked: bool) -> None:
        """Choose whether to learn from a painted slice; a partly painted one should not be ticked."""
        self._tracker.set_ticked(index, ticked)
        self.kept.mark()
        self.changed.emit()

    def set_empty(self, index: int, empty: bool, segment_id: str | None = None) -> None:
        """Declare that a slice contains none of the segments, or none of the one given, or undo that."""
        with reporting(self.said.emit):
            self._tracker.set_empty(index, empty, segment_id)
        self.kept.mark()
        self.changed.emit()

    def delete_slice(self, index: int) -> None:
        """Erase the visible segments on a slice; Undo restores them."""
        with reporting(self.said.emit):
            self._tracker.delete_slice(index)
        self.changed.emit()

    def look_now(self) -> None:
        """Find the painted slices now; blocks until that is done. Raises BadInputError."""
        if self.target is not None:
            self._tracker.look_now()

    def propagate(self, whole: bool = False) -> None:
        """Learn from the painted slices and predict the others; after a run only those next to what changed, unless
        `whole`. A preview that was not applied is discarded."""
        self._tracker.look_soon(0.0)  # not every change is reported, and this is the moment that counts
        if reason := self.why_not():
            self.said.emit(Message(WARNING, reason))
            return
        self.discard()
        self._is_wanted, self._is_whole = True, whole
        self._set_state(State.PREPARING)
        self.progressed.emit(PREPARING)

    def cancel(self) -> None:
        """Stop what is running; the background process stays ready."""
        if self.state is State.PREPARING:
            self._drop_run()
            self.said.emit(CANCELLED)
        elif self.state is State.RUNNING:
            self._set_state(State.CANCELLING)
            if self._applying is not None:
                self._applying.left.clear()
            self._requests.cancel_run()

    def use_first_answer(self) -> None:
        """Stop learning: what is already previewed becomes the result."""
        self._requests.finish_run()

    def poll(self) -> None:
        """Take the next small steps: events, painted slices, inputs, preview; about 20 ms at most."""
        try:
            self._requests.poll()
            if missing_nodes(self.scene, self.target):  # they may be deleted at any time
                self.set_inputs(None, None)
            if self.preview is not None and not self.preview.is_there:
                self._drop_run()
                self.said.emit(Message(WARNING, "The preview was removed, and with it the result.", "Propagate again."))
            was_looking = not self._tracker.is_up_to_date
            found = self.target is not None and self._tracker.poll(is_urgent=self._is_wanted)
            if found or was_looking == self._tracker.is_up_to_date:  # even if nothing was found: `why_not` changes
                self.changed.emit()
            self._step()
            self.kept.poll(self.target, self._note, self._run if self.state is State.PREVIEW else None)
            self._failure = ""
        except FewShotSAMError as error:
            self._drop_run()
            self.said.emit(message_of(error))
        except Exception as error:  # noqa: BLE001 - nobody else would report it, and polling would fail forever
            self.give_up(error)

    def wait(self, longest_s: float) -> bool:
        """Wait for our threads, if any works; True then. They stand still while Slicer's event loop holds the GIL."""
        known: list[Any] = [self._tracker.search, *(job.writing for job in (self._run, self._applying) if job)]
        pending = [each for each in known if each is not None and not each.done()]
        wait(pending, longest_s)
        return bool(pending)

    def give_up(self, error: Exception) -> None:
        """Drop what is running after an unexpected error and report it, only once if it recurs at each poll."""
        self._drop_run()
        message, details = message_of_bug(error)
        if details != self._failure:
            self._failure = details
            self.logged.emit(details)
            self.said.emit(message)

    def apply(self) -> None:
        """Write the previewed result into the segments as one step of Undo. Painted slices stay as they are."""
        run = self._run
        if self.state is not State.PREVIEW or run is None or run.classes is None:
            return
        with reporting(self.said.emit):
            written = self._tracker.write(run.plan, run.classes, run.predicted, run.partly)
            self.discard()
            self.said.emit(Message(INFO, f"{run.count(written)} slices were written.", "Undo reverts them."))

    def keep(self, name: str) -> str:
        """Add the preview, painted slices included, as a new segmentation; its id. Raises BadInputError."""
        run = self._run
        if self.state is not State.PREVIEW or run is None or run.classes is None:
            raise BadInputError("There is no result to keep.", "Propagate first.")
        volume, result = run.plan.volume.id, run.segmentation()
        added = self._tracker.add(volume, run.plan.axis, lambda: self.scene.add_segmentation(volume, result, name))
        self._drop_run()
        return added

    def discard(self) -> None:
        """Drop the preview; the segmentation was never touched."""
        if self.state is State.PREVIEW:
            self._drop_run()

    def save_model(self, name: str) -> None:
        """Save what the last run learned under a name; after corrections, once the process has gathered it."""
        with reporting(self.said.emit):
            if self.learned_model is None:
                raise BadInputError("There is no few-shot model yet.", "Propagate first.")
            if not self._files.model_is_behind:
                self._add_model(self.learned_model, name)
                return
            path, _ = self._files.of_new_run()
            as_is = {"path": str(path), "model_as_is": True}
            self._requests.submit("save_model", as_is, lambda report: self._add_model(path, name))

    def _add_model(self, path: Path, name: str) -> None:
        self._files.keep_model(path)
        entry = self.models.add(path, name)
        self._incomplete.append(entry.path)
        self.said.emit((SAVED_WITHOUT_IMAGE, MODEL_SAVED, SAVED_WITH_EARLIER)[min(entry.images, 2)])
        self.changed.emit()

    def apply_model(self, entry: ModelEntry, volume_ids: Sequence[str]) -> None:
        """Segment volumes with a few-shot model; each result becomes a new segmentation."""
        if self.is_busy:
            self.said.emit(Message(WARNING, self.why_not()))
            return
        self.discard()
        self._applying = self.applied = Applying(entry, list(volume_ids), self._files)
        self._set_state(State.PREPARING)

    def work(self, count: int) -> Work:
        """What a run would have to do; count: slices along the axis."""
        like = learns_like(self.target, self.axis, self.settings, self.earlier_paths())
        return work_of(self.painted, self.range, count, like, self._learned, not self._requests.is_running)

    def export(self, path: Path) -> bool:
        """Write all segments, hidden ones too, on the volume's full geometry: `.seg.nrrd`, or a label map; True if that
        worked."""
        with reporting(self.said.emit):
            if self.target is None:
                raise BadInputError("There is nothing to export.", "Choose a volume and a segmentation first.")
            for warning in export_all(self.scene, self.target, path):
                self.said.emit(Message(WARNING, warning))
            self.kept.forget()
            self.said.emit(Message(INFO, f"Exported to {path}."))
            return True
        return False

    def forget_scene(self) -> None:
        """Drop everything that belonged to a closed scene. Requests about the computer go on."""
        self._drop_run()
        self.kept.forget()
        self.target, self.review, self.range, self._learned, self.earlier = None, None, None, None, ()
        self._tracker.set_target(None)
        self.changed.emit()

    def close(self, keep_work: bool = False) -> None:
        """End the background process and the session, and delete the job folder, except unsaved work if `keep_work`."""
        if keep_work:
            with reporting(self.said.emit):
                self.kept.keep_now(self.target, self._note, self._run if self.state is State.PREVIEW else None)
        self._drop_run()
        self._requests.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.kept.close(keep_work)
        self._job_folder.close(keep_work)

    def _note(self) -> str:
        return self._tracker.notes.to_text()

    def _set_state(self, state: State) -> None:
        self.state = state
        self.changed.emit()

    def _step(self) -> None:
        self._complete_models()
        if self._is_wanted and self._tracker.is_up_to_date:
            self._begin_run()
        if self._run is not None:
            self._step_run(self._run)
        elif self._applying is not None and self.state is State.PREPARING:
            self._step_applying(self._applying)

    def _begin_run(self) -> None:
        assert self.target is not None
        found, self._is_wanted = self._tracker.found, False
        if reason := why_no_exemplars(found, self.range):
            raise BadInputError(reason)
        assert found.axis is not None
        for warning in found.warnings:
            self.said.emit(Message(WARNING, warning))
        volume, segments = self.scene.volume(self.target.volume), self._tracker.visible_segments()
        chosen = (self.range, self.settings, self.earlier_paths())
        plan = plan_run(self.target, volume, segments, found.slices, found.axis, *chosen)
        preview = self.scene.open_preview(self.target, plan.segment_ids)
        self._run = Run(plan, self._files, preview, self._is_whole)
        self._run.write_inputs(self._executor)

    def _step_run(self, run: Run) -> None:
        if take_written(run):
            self._submit_run("propagate", run.parameters(self._learned), self._take_result, run.take_preview)
        if run.show_some() and run.classes is not None and self.state is State.RUNNING:
            self._set_state(State.PREVIEW)
            if missing := run.not_found():
                self.said.emit(missing)

    def _step_applying(self, applying: Applying) -> None:
        if take_written(applying):
            self._submit_run("apply", applying.parameters(self.settings), self._take_applied)
        elif applying.writing is None and not applying.next_volume(self.scene, self._executor):
            applying.write_page()
            self._applying = None
            self._set_state(State.IDLE)

    def _submit_run(self, command: str, parameters: dict[str, Any], on_result: Any, on_preview: Any = None) -> None:
        self._requests.submit(command, parameters, on_result, on_preview, is_run=True)
        self._set_state(State.RUNNING)

    def _take_result(self, report: dict[str, Any]) -> None:
        if self._run is None or self.state is not State.RUNNING:
            self._drop_run()  # it was cancelled, but finished first
            self.said.emit(CANCELLED)
            return
        self.review = Review.from_report(report)
        self._run.take_result(report)
        self._learned = self._run.learned(self._learned)
        self.machine = None if self.machine is None else self.machine.with_pace(report.get("pace"))
        for line in (self.review.summary, *self.review.earlier):
            self.logged.emit(line)
        self.changed.emit()

    def _take_applied(self, report: dict[str, Any]) -> None:
        assert self._applying is not None
        self.said.emit(self._applying.take_result(report, self.scene, self._tracker))
        self._set_state(State.PREPARING)

    def _end(self, job: Job, error: FewShotSAMError | None) -> None:
        """Handle the end of a request. An error drops the whole run, but only the one volume of several."""
        if error and job.command == "apply" and self._applying and self._applying.take_failure(error):
            self._set_state(State.PREPARING)
        elif job.is_run and (error is not None or job.command in CANCELLABLE):
            self._drop_run()
        if error is not None:
            self.said.emit(self._files.message_of(error))

    def _drop_run(self) -> None:
        """Stop whatever is running and forget it; nothing of it reaches the segmentation."""
        self._requests.drop_run()
        run, self._run, self._applying, self._is_wanted = self._run, None, None, False
        if run is not None:
            run.close()
        if self.state is not State.IDLE:
            self._set_state(State.IDLE)
