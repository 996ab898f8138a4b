"""A line below the painted slices: which segments the slice that is shown holds none of. A click changes it."""

from __future__ import annotations

from typing import Any

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.segment import hex_color
from FewShotSAMLib.widgets.display import escaped
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow.painted_slices import not_painted_on

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

    def _links(self, index: int) -> list[str]:
        session = self._services.session
        absent = not_painted_on(session.painted, index)
        if not absent or session.target is None:
            return []
        try:
            segments = self._services.scene.segments(session.target)
        except FewShotSAMError:
            return []  # they are gone; the session says so itself
        return [
            f'<a href="{escaped(each.id)}" style="text-decoration:none">{_YES if absent[each.id] else _NO} '
            f'<font color="{hex_color(each.color)}">■</font> {escaped(each.name)}</a>'
            for each in [each for each in segments if each.id in absent][:_MOST]
        ]

    def _onLink(self, segmentId: str) -> None:
        if self._index is not None and not self._services.session.is_busy:
            isAbsent = not_painted_on(self._services.session.painted, self._index).get(segmentId, False)
            self._messages.attempt(self._services.session.set_empty, self._index, not isAbsent, segmentId)
