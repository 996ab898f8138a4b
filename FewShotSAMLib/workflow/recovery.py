"""Recovery of unsaved work: saved while a session runs, offered to the next session, and restored there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from FewShotSAMLib.workflow.autosave import Autosave, Leftover, leftovers
from FewShotSAMLib.workflow.message import INFO, WARNING, Message, message_of
from FewShotSAMLib.workflow.scene import Scene, Target
from FewShotSAMLib.workflow.tracker import PaintingTracker

Say = Callable[[Message], None]


class Recovery(Autosave):
    """The recovery of one session. left: unsaved work of earlier sessions of the same place."""

    def __init__(self, scene: Scene, job_folder: Path, place: str, tracker: PaintingTracker, tell: Say) -> None:
        super().__init__(scene, job_folder, place, lambda error: tell(message_of(error)))
        self._tracker, self._tell = tracker, tell
        self.left: list[Leftover] = leftovers(job_folder.parent, place) if place else []

    def find(self, left_id: str) -> Leftover | None:
        """The unsaved work with this id, None if there is none."""
        return next((each for each in self.left if each.id == left_id), None)

    def drop(self, left: Leftover) -> None:
        """Delete unsaved work that the user does not want."""
        self.left.remove(left)
        left.abandoned.delete()

    def put_back(self, left: Leftover, target: Target) -> str:
        """Restore unsaved work for the volume of `target`; returns the id of the segmentation that holds it.

        A result that was not applied is added as separate segments. Raises BadInputError if the work cannot be read or
        lies on another grid; it is then still offered.
        """
        painting, result = left.read()
        segmentation = self._scene.restore_segmentation(target, painting, f"{left.volume} segmentation")
        self._scene.set_note(segmentation, left.note)
        self._tracker.set_target(Target(target.volume, segmentation))  # reads the note
        if result is not None:
            self._tracker.look_now()
            name = f"{left.volume} result"
            self._tracker.add(target.volume, 0, lambda: self._scene.add_segmentation(target.volume, result, name))
            self._tell(Message(WARNING, "The result that was not applied was added as separate segments."))
        self.left.remove(left)
        self.replaces(left)
        self._tell(Message(INFO, f"The segments painted on “{left.volume}” were restored."))
        return segmentation

    def close(self, keep: bool = False) -> None:
        """Release what was not restored, for other processes. keep: see `Autosave.close`."""
        super().close(keep)
        for left in self.left:
            left.abandoned.release()
