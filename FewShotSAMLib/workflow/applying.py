"""Applies a few-shot model to other volumes, one after the other; each result is a separate segmentation.

The results are summarised like those of a cohort: see `cohort.table` and `cohort.page`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.cohort.page import write_page
from FewShotSAMLib.cohort.table import TableEntry, entry_of, ranked
from FewShotSAMLib.core.errors import CancelledError, FewShotSAMError
from FewShotSAMLib.core.plane import axis_of_plane
from FewShotSAMLib.workflow.inputs import segmentation_of
from FewShotSAMLib.workflow.message import INFO, Message
from FewShotSAMLib.workflow.model_library import ModelEntry
from FewShotSAMLib.workflow.run import RunFiles
from FewShotSAMLib.workflow.scene import Scene, SceneVolume
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.tracker import PaintingTracker


@dataclass
class Applying:
    """A model being applied to a list of volumes.

    left: ids of the volumes still to be segmented. results: ids of the segmentations made so far. page: the table of
    all volumes for a browser, once all are done.
    """

    entry: ModelEntry
    left: list[str]
    files: RunFiles
    results: list[str] = field(default_factory=list)
    volume: SceneVolume | None = None
    writing: Future[None] | None = None
    page: Path | None = None
    entries: list[TableEntry] = field(default_factory=list)

    @property
    def classes(self) -> Path:
        """The file of the last result, one array."""
        return self.files.folder / "applied.npy"

    def next_volume(self, scene: Scene, executor: Executor) -> bool:
        """Begin to write the next volume in another thread; False if none is left. Raises BadInputError."""
        if not self.left:
            return False
        self.volume = scene.volume(self.left.pop(0))
        self.writing = executor.submit(self.files.keep_volume, self.volume)
        return True

    def parameters(self, settings: Settings) -> dict[str, Any]:
        """The parameters of the job `apply`."""
        paths = {
            "model": self.entry.path,
            "volume": self.files.volume,
            "classes": self.classes,
            "strip": self._picture(len(self.entries)),
        }
        return {**{name: str(path) for name, path in paths.items()}, **settings.computing()}

    def take_result(self, report: Mapping[str, Any], scene: Scene, tracker: PaintingTracker) -> Message:
        """Add the result to the scene; returns a message about it."""
        assert self.volume is not None
        classes = np.load(self.classes, allow_pickle=False)
        segmentation = segmentation_of(classes, self.volume.geometry, self.entry.segments)
        name = f"{self.volume.name} {self.entry.name}"
        volume_id, axis = self.volume.id, axis_of_plane(self.volume.geometry, self.entry.plane)
        self.results.append(tracker.add(volume_id, axis, lambda: scene.add_segmentation(volume_id, segmentation, name)))
        self.entries.append(entry_of(self._row_name(), report))
        return Message(INFO, f"The segments of “{name}” were added.")

    def take_failure(self, error: FewShotSAMError) -> bool:
        """Record why a volume has no result; False if the user cancelled, which stops all others, too."""
        if isinstance(error, CancelledError):
            return False
        paths = {"volume": self.files.volume, "model": self.entry.path}
        self.entries.append(entry_of(self._row_name(), None, error, paths))
        return True

    def write_page(self) -> None:
        """Write the page with the results of all volumes, those to look at first on top. Raises BadInputError."""
        pictures = {each.name: self._picture(number) for number, each in enumerate(self.entries)}
        path = self.files.folder / "applied.html"
        write_page(ranked(self.entries), path, lambda each: pictures[each.name])
        self.page = path

    def _picture(self, number: int) -> Path:
        return self.files.folder / f"applied-{number}.jpg"

    def _row_name(self) -> str:
        """The volume's name, numbered if it is taken."""
        assert self.volume is not None
        taken = {each.name for each in self.entries}
        names = (f"{self.volume.name}{f' ({number})' if number > 1 else ''}" for number in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)
