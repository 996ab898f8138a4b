"""Placeholder of the session: what the panel uses of it. Replaced by the real one."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from FewShotSAMLib.workflow.machine import Machine
from FewShotSAMLib.workflow.models import ModelEntry, ModelLibrary
from FewShotSAMLib.workflow.painted_slices import PaintedSlice
from FewShotSAMLib.workflow.review import Review
from FewShotSAMLib.workflow.scene import ScenePreview, Target
from FewShotSAMLib.workflow.settings import Settings
from FewShotSAMLib.workflow.signal import Signal


class State(enum.Enum):
    """What the session is doing."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PREVIEW = "preview"


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    stage: str
    text: str
    fraction: float | None
    remaining_s: float | None


@dataclass(frozen=True)
class Message:
    """What the user is told."""

    level: str
    text: str
    hint: str = ""
    log: str = ""


class Session(Protocol):
    """The contract."""

    changed: Signal
    progressed: Signal
    said: Signal
    logged: Signal
    state: State
    target: Target | None
    settings: Settings
    painted: tuple[PaintedSlice, ...]
    axis: int | None
    range: tuple[int, int] | None
    review: Review | None
    preview: ScenePreview | None
    machine: Machine | None
    models: ModelLibrary

    def set_inputs(self, volume_id: str | None, segmentation_id: str | None) -> None: ...
    def mark_modified(self) -> None: ...
    def set_axis(self, axis: int | None) -> None: ...
    def set_ticked(self, index: int, ticked: bool) -> None: ...
    def set_empty(self, index: int, empty: bool) -> None: ...
    def delete_slice(self, index: int) -> None: ...
    def thumbnail(self, index: int, size: int) -> np.ndarray: ...
    def why_not(self) -> str: ...
    def propagate(self) -> None: ...
    def cancel(self) -> None: ...
    def poll(self) -> None: ...
    def apply(self) -> None: ...
    def discard(self) -> None: ...
    def next_slice(self) -> int | None: ...
    def save_model(self, name: str) -> None: ...
    def apply_model(self, entry: ModelEntry, volume_ids: Sequence[str]) -> None: ...
    def inspect(self) -> None: ...
    def download(self, encoder: str) -> None: ...
    def clear_cache(self) -> None: ...
    def export(self, path: Path) -> Any: ...
    def close(self) -> None: ...
    def forget_scene(self) -> None: ...
