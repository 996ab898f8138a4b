"""Earlier patients' few-shot models, used in addition to the painted slices: which there are, and which are chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.segment import matching_names
from FewShotSAMLib.workflow.model_library import ModelEntry, ModelLibrary
from FewShotSAMLib.workflow.painted_slices import painted_by_segment
from FewShotSAMLib.workflow.scene import Scene, Target
from FewShotSAMLib.workflow.state import Signal

GONE = "It is missing or damaged. Untick it, or restore its file."
WITHOUT_IMAGE = "It was saved without the image around its segments, so other volumes cannot be registered to it."


@dataclass(frozen=True)
class EarlierModel:
    """A model that may be used in addition to the painted slices. segments: names; why_not: why it is of no use, "" if
    it may be."""

    name: str
    segments: tuple[str, ...]
    is_chosen: bool
    why_not: str = ""


class EarlierModelsMixin:
    """A part of `Session`. earlier: names of the chosen models of its library; a chosen model may be missing there.
    earlier_files: further models, from anywhere."""

    earlier: tuple[str, ...] = ()
    earlier_files: tuple[Path, ...] = ()
    models: ModelLibrary
    scene: Scene
    target: Target | None
    changed: Signal
    painted: Any

    def choose_earlier(self, name: str, chosen: bool = True) -> None:
        """Use a model in addition to the painted slices, or stop using it."""
        others = tuple(each for each in self.earlier if each != name)
        self.earlier = (*others, name) if chosen else others
        self.changed.emit()

    def rename_model(self, entry: ModelEntry, name: str) -> None:
        """Give a model of the library another name; it stays chosen. Raises BadInputError."""
        renamed = self.models.rename(entry, name)
        self.earlier = tuple(renamed.name if each == entry.name else each for each in self.earlier)
        self.changed.emit()

    def delete_model(self, entry: ModelEntry) -> None:
        """Delete a model of the library permanently. Raises BadInputError."""
        self.models.delete(entry)
        self.choose_earlier(entry.name, False)

    def earlier_models(self, entries: Iterable[ModelEntry]) -> list[EarlierModel]:
        """These models of the library, and the chosen ones that are not among them."""
        ours = self._names()
        found = [self._earlier(each, ours) for each in entries]
        known = {each.name for each in found}
        return found + [EarlierModel(name, (), True, GONE) for name in self.earlier if name not in known]

    def earlier_paths(self) -> tuple[Path, ...]:
        """The files of the chosen models that exist."""
        found = (self.models.find(name) for name in self.earlier)
        return (*(path for path in found if path is not None), *self.earlier_files)

    def _why_not_earlier(self) -> str:
        lost = next((each for each in self.earlier if self.models.find(each) is None), "")
        text = f"The few-shot model “{lost}” is no longer there. Untick it under Earlier patients, or restore its file."
        return text if lost else ""

    def _earlier(self, entry: ModelEntry, ours: list[str]) -> EarlierModel:
        theirs, why_not = tuple(segment.name for segment in entry.segments), ""
        if not entry.images:
            why_not = WITHOUT_IMAGE
        elif ours and not matching_names(ours, theirs):
            why_not = f"None of its segments ({', '.join(theirs)}) has the same name as one here ({', '.join(ours)})."
        return EarlierModel(entry.name, theirs, entry.name in self.earlier, why_not)

    def _names(self) -> list[str]:
        """The names of the painted segments, or of all visible ones while none is painted."""
        if self.target is None:
            return []
        try:
            segments = [each for each in self.scene.segments(self.target) if each.visible]
        except BadInputError:
            return []  # they no longer exist, and the session itself reports that
        painted = painted_by_segment(self.painted)
        return [each.name for each in segments if each.id in painted] or [each.name for each in segments]
