"""Few-shot models: saved as files in the served folder, listed, applied to the volume shown, deleted."""

from __future__ import annotations

from collections.abc import Iterable

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web.contents import Contents
from FewShotSAMLib.web.folder import ServedFolder
from FewShotSAMLib.web.triggers import Triggers
from FewShotSAMLib.workflow import ModelEntry, ModelLibrary
from FewShotSAMLib.workflow.cost import format_bytes
from FewShotSAMLib.workflow.earlier import EarlierModel


class ModelList:
    """The models in the served folder; their headers are read again when the folder has changed."""

    def __init__(self, folder: ServedFolder, library: ModelLibrary) -> None:
        self._folder, self._library = folder, library
        self._stamp: int | None = None
        self._entries: list[ModelEntry] = []

    def entries(self) -> list[ModelEntry]:
        """All models, the newest first. Links that lead out of the folder are not followed."""
        try:
            stamp = self._library.folder.stat().st_mtime_ns
        except OSError:  # the folder was removed: there is nothing to list
            return []
        if stamp != self._stamp:
            self._stamp = stamp
            self._entries = [each for each in self._library.entries() if self._folder.holds(each.path)]
        return self._entries

    def entry(self, name: str) -> ModelEntry:
        """The model of this name. Raises BadInputError if there is none."""
        for each in self.entries():
            if each.name == name:
                return each
        raise BadInputError(f"There is no few-shot model “{name}” in the served folder.", "Choose one from the list.")

    def rows(self) -> list[Contents]:
        """The rows that the page shows."""
        return [
            {
                "name": each.name,
                "segments": ", ".join(segment.name for segment in each.segments),
                "details": f"{each.method}, encoder {each.encoder}, {each.plane}, {format_bytes(each.size_bytes)}",
            }
            for each in self.entries()
        ]


def earlier_rows(models: Iterable[EarlierModel]) -> list[Contents]:
    """The models of earlier patients, to tick, with the reason if one is of no use."""
    return [
        {
            "name": each.name,
            "chosen": each.is_chosen,
            "usable": not each.why_not,
            "details": each.why_not or f"Segments: {', '.join(each.segments)}.",
        }
        for each in models
    ]


class ModelActions(Triggers):
    """The section's requests."""

    def use_model(self, name: str, used: bool) -> None:
        """Use an earlier patient's model in addition to what is painted, or no longer."""
        self._need_rest()
        known = str(name) if not used else self._app.models.entry(str(name)).name
        self._app.session.choose_earlier(known, bool(used))

    def save_model(self, name: str) -> None:
        """Save what the last run learned."""
        self._app.session.save_model(str(name))

    def apply_model(self, name: str) -> None:
        """Segment the volume shown; the result's segments are added to the existing ones."""
        self._need_rest()
        self._need_volume()
        assert self._app.volume_node is not None
        self._app.session.apply_model(self._app.models.entry(str(name)), [self._app.volume_node.GetID()])

    def delete_model(self, name: str) -> None:
        """Delete a model's file; this cannot be undone, so the page asks first."""
        self._need_rest()
        self._app.session.delete_model(self._app.models.entry(str(name)))
        self._app.show()
