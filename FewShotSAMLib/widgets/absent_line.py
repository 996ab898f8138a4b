"""A line below the painted slices: which segments the slice that is shown holds none of. A click changes it."""

from __future__ import annotations

from typing import Any

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.widgets.display import escaped
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import PaintedSlice

_MOST = 8
"""Segments that are offered; a slice on which more are missing is seldom said one by one."""
_NO, _YES = "\u2610", "\u2611"


class AbsentLine:
    """A label with a link for each segment that is painted somewhere, but not on the slice that is shown."""

    def __init__(self, label: Any, services: Services, messages: Messages) -> None:
        self._label, self._services, self._messages = label, services, messages
        self._index: int | None = None
        tip = _(
            "A segment is known where it is painted, and beyond. Tick those of which there is nothing on this slice."
        )
        label.setToolTip(tip)
        label.connect("linkActivated(QString)", self._onLink)

    def update(self, index: int | None) -> None:
        """Show what can be said of slice `index`."""
        self._index = index
        links = [] if index is None or self._services.session.is_busy else self._links(index)
        self._label.setVisible(bool(links))
        text = _("Slice {0} holds none of:").format(index) + " " + " &nbsp;".join(links)
        if links and self._label.text != text:
            self._label.setText(text)

    def _row(self, index: int) -> PaintedSlice:
        found = (entry for entry in self._services.session.painted if entry.index == index)
        return next(found, PaintedSlice(index, ()))

    def _links(self, index: int) -> list[str]:
        session, row = self._services.session, self._row(index)
        somewhere = {each for entry in session.painted for each in entry.segment_ids}
        if row.empty or len(somewhere) < 2 or session.target is None:
            return []
        try:
            segments = self._services.scene.segments(session.target)
        except FewShotSAMError:
            return []  # they are gone; the session says so itself
        free = [each for each in segments if each.id in somewhere and each.id not in row.segment_ids]
        return [
            f'<a href="{escaped(each.id)}" style="text-decoration:none">{_YES if each.id in row.absent_ids else _NO} '
            f'<font color="{hexColor(each.color)}">■</font> {escaped(each.name)}</a>'
            for each in free[:_MOST]
        ]

    def _onLink(self, segmentId: str) -> None:
        if self._index is not None and not self._services.session.is_busy:
            isAbsent = segmentId in self._row(self._index).absent_ids
            self._messages.attempt(self._services.session.set_empty, self._index, not isAbsent, segmentId)


def hexColor(color: tuple[float, float, float]) -> str:
    """ "#rrggbb" of a segment's colour."""
    return "#" + bytes(round(255 * part) for part in color).hex()
