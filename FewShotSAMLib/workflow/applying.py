"""Applies a few-shot model to other volumes, one after the other; each result is a segmentation of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.plane import axis_of_plane
from FewShotSAMLib.workflow.inputs import segmentation_of
from FewShotSAMLib.workflow.models import ModelEntry
from FewShotSAMLib.workflow.run import RunFiles
from FewShotSAMLib.workflow.scene import Scene, SceneVolume
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.tracker import PaintingTracker

_COMPUTE = ("device", "precision", "cache_limit_gb", "largest_island", "fill_holes", "smooth_mm")


@dataclass
class Applying:
    """A model on its way through volumes; `results` are the ids of the segmentations that came of it."""

    entry: ModelEntry
    left: list[str]
    files: RunFiles
    results: list[str] = field(default_factory=list)
    volume: SceneVolume | None = None
    writing: Future[None] | None = None

    @classmethod
    def of(cls, entry: ModelEntry, volume_ids: Sequence[str], files: RunFiles) -> Applying:
        """A model and the volumes still to be segmented."""
        return cls(entry, list(volume_ids), files)

    @property
    def classes(self) -> Path:
        """The last result as one array."""
        return self.files.folder / "applied.npy"

    def next_volume(self, scene: Scene, executor: Executor) -> bool:
        """Begin to write the next volume in another thread; False where none is left. Raises BadInputError."""
        if not self.left:
            return False
        self.volume = scene.volume(self.left.pop(0))
        self.writing = executor.submit(self.files.keep_volume, self.volume)
        return True

    def parameters(self, settings: Settings) -> dict[str, Any]:
        """Those of the job `apply`; method and encoder are the model's own."""
        chosen = {name: value for name, value in settings.parameters().items() if name in _COMPUTE}
        paths = {
            "model": self.entry.path,
            "volume": self.files.volume,
            "output": self.files.result,
            "classes": self.classes,
        }
        return {**{name: str(path) for name, path in paths.items()}, **chosen}

    def take_result(self, scene: Scene, tracker: PaintingTracker) -> str:
        """Bring the result into the scene; returns the name it got."""
        assert self.volume is not None
        classes = np.load(self.classes, allow_pickle=False)
        segmentation = segmentation_of(classes, self.volume.geometry, self.entry.segments)
        name = f"{self.volume.name} {self.entry.name}"
        volume_id, axis = self.volume.id, axis_of_plane(self.volume.geometry, self.entry.plane)
        self.results.append(tracker.add(volume_id, axis, lambda: scene.add_segmentation(volume_id, segmentation, name)))
        return name
