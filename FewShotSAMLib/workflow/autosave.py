"""Saves painted segments in the job folder, so that the next session can restore them if this one ends unsaved."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.files import atomic_path
from FewShotSAMLib.core.segment import Segmentation
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation
from FewShotSAMLib.workflow.inputs import build_annotation
from FewShotSAMLib.workflow.job_folder import AUTOSAVE, LockedFolder, abandoned
from FewShotSAMLib.workflow.run import Run, discard
from FewShotSAMLib.workflow.scene import Scene, Target

RECORD = "record.json"
QUIET_S, LONGEST_S = 0.7, 4.0
"""A change is saved after QUIET_S without another one, and after LONGEST_S at the latest."""


@dataclass(frozen=True)
class Leftover:
    """Unsaved work of a session that has ended. volume: the volume's name; source: where the front end found it; saved:
    seconds since 1970; note: what was known about the painted slices (`Scene.note`)."""

    volume: str
    source: str
    saved: float
    note: str
    files: dict[str, Any]
    abandoned: LockedFolder

    @property
    def id(self) -> str:
        """Its identifier in this session."""
        return self.abandoned.path.name

    def read(self) -> tuple[Segmentation, Segmentation | None]:
        """What was painted, and a result that was not applied. Raises BadInputError if a file is missing or damaged."""
        painting = self._read("painting")
        return painting, self._read("preview") if "preview" in self.files else None

    def _read(self, kind: str) -> Segmentation:
        path = self.abandoned.path / AUTOSAVE / self.files[kind]["name"]
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise BadInputError(f"{path} cannot be read ({error.strerror}).", "There is no other copy.") from error
        if digest != self.files[kind]["sha256"]:
            raise BadInputError(f"{path} is damaged.", "There is no other copy.")
        return read_segmentation(path)


def leftovers(parent: Path | None, place: str) -> list[Leftover]:
    """Unsaved work of earlier sessions of this place, latest first; this process holds its locks from now on."""
    found = []
    for each in abandoned(parent):
        left = _leftover(each, place)
        if left is None:
            each.release()
        else:
            found.append(left)
    return sorted(found, key=lambda left: -left.saved)


def _leftover(found: LockedFolder, place: str) -> Leftover | None:
    try:
        record = json.loads((found.path / AUTOSAVE / RECORD).read_text(encoding="utf-8"))
        files = {
            kind: {"name": Path(str(entry["name"])).name, "sha256": str(entry["sha256"])}
            for kind, entry in record["files"].items()
        }
        volume, source, saved, note = (record[name] for name in ("volume", "source", "saved", "note"))
        if record["place"] != place or "painting" not in files:
            return None
        return Leftover(str(volume), str(source), float(saved), str(note), files, found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


class Autosave:
    """Saves the target's segments, and a result that waits to be applied, in a thread of its own.

    place: identifies the front end; saved work is offered to the next session of the same place. "" saves nothing.
    source: names the volume for that session. say: called once if the disk cannot be written.
    """

    def __init__(self, scene: Scene, job_folder: Path, place: str, say: Callable[[FewShotSAMError], None]) -> None:
        self._scene, self._folder, self._place, self._say = scene, job_folder / AUTOSAVE, place, say
        self._executor = ThreadPoolExecutor(1, "autosave")
        self._writing: Future[None] | None = None
        self._changed_at: float | None = None
        self._since: float | None = None
        self._preview: Run | None = None
        self._replaced: list[Leftover] = []
        self._is_reported, self._count = False, 0
        self.source = ""

    @property
    def is_kept(self) -> bool:
        """Whether there is saved work that the next session would offer."""
        return (self._folder / RECORD).is_file()

    def mark(self) -> None:
        """Note that something has changed."""
        self._changed_at = time.monotonic()
        self._since = self._changed_at if self._since is None else self._since

    def replaces(self, left: Leftover) -> None:
        """Take over the work of another session; its copy is deleted once the work is saved here."""
        self._replaced.append(left)
        self.mark()

    def forget(self) -> None:
        """Delete the saved work: the user has saved it elsewhere, or discarded it."""
        self._finish()
        self._changed_at = self._since = None
        for path in self._files():
            discard(path)
        self._delete_replaced()

    def poll(self, target: Target | None, note: Callable[[], str], preview: Run | None) -> None:
        """Start a save that is due, and finish one that is done. note: as `Scene.note`; preview: a result that waits
        to be applied. Raises BadInputError if the segmentation does not fit the volume."""
        if not self._place:
            return
        if self._writing is not None and self._writing.done():
            self._finish()
        self._look_at(preview)
        if target is None or self._changed_at is None or self._since is None or self._writing is not None:
            return
        now = time.monotonic()
        if now - self._changed_at >= QUIET_S or now - self._since >= LONGEST_S:
            self._begin(target, note())

    def keep_now(self, target: Target | None, note: Callable[[], str], preview: Run | None) -> None:
        """Save what is not saved yet, and wait for it."""
        self._finish()
        self._look_at(preview)
        if self._place and target is not None and self._changed_at is not None:
            self._begin(target, note())
            self._finish()

    def close(self, keep: bool = False) -> None:
        """Stop saving. keep: restored work that is not saved here yet stays in the folder that it came from."""
        self._executor.shutdown(wait=True)
        if not (keep and self._changed_at is not None):
            self._delete_replaced()

    def _delete_replaced(self) -> None:
        while self._replaced:
            self._replaced.pop().abandoned.delete()

    def _look_at(self, preview: Run | None) -> None:
        if preview is not self._preview:
            self._preview = preview
            self.mark()

    def _begin(self, target: Target, note: str) -> None:
        self._changed_at = self._since = None
        volume, segments = self._scene.volume(target.volume), self._scene.segments(target)
        self._count += 1
        record = {"place": self._place, "source": self.source, "volume": volume.name, "note": note}
        every = {index: [each.id for each in segments] for index in range(volume.geometry.shape[0])}
        preview = self._preview

        def write() -> None:
            kept = {"painting": build_annotation(segments, volume.geometry, 0, every)}
            if preview is not None and preview.classes is not None:
                kept["preview"] = preview.segmentation()
            self._write(record, kept)

        self._writing = self._executor.submit(write)

    def _write(self, record: dict[str, Any], kept: dict[str, Segmentation]) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        earlier = self._files()
        files = {}
        for kind, segmentation in kept.items():
            if kind == "painting" and not segmentation.layers.any() and len(kept) == 1:
                break
            path = self._folder / f"{kind}-{self._count}.seg.nrrd"
            write_segmentation(segmentation, path)
            files[kind] = {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        if files:
            with atomic_path(self._folder / RECORD) as path:
                path.write_text(json.dumps({**record, "saved": time.time(), "files": files}), encoding="utf-8")
            earlier = [path for path in earlier if path.name != RECORD]
        for path in earlier:
            discard(path)

    def _finish(self) -> None:
        """Wait for the save in progress; report a disk that cannot be written only once."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except (FewShotSAMError, OSError) as error:
            self.mark()
            if not self._is_reported:
                self._is_reported = True
                reason = error.message if isinstance(error, FewShotSAMError) else str(error)
                self._say(BadInputError(f"Painted segments cannot be backed up. {reason}", "Save them soon."))
            return
        self._delete_replaced()

    def _files(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return list(self._folder.iterdir())
        return []
