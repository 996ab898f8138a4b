"""The list of painted slices with their thumbnails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import qt

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.segment import hex_color
from FewShotSAMLib.widgets.display import colored, escaped, shortened, toPixmap
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import PaintedSlice

_THUMBNAIL = 56
_SLICE, _SEGMENTS = 0, 1
_LONGEST_NAME, _LONGEST_ODD = 22, 16
"""Characters of a segment's name that fit into a row, the second next to a mark; the tooltip has the whole name."""


class PaintedList:
    """A QTreeWidget: thumbnail, number and tick, then what is known about the segments. A click shows the slice."""

    def __init__(self, tree: Any, services: Services, messages: Messages, onSelected: Callable[[], None]) -> None:
        self._tree = tree
        self._services, self._messages = services, messages
        self._onSelected = onSelected
        self._items: dict[int, Any] = {}
        self._shown: Any = None
        self._undrawn: list[int] = []
        self._updating = False
        tree.setIconSize(qt.QSize(_THUMBNAIL, _THUMBNAIL))
        tree.setColumnWidth(_SLICE, _THUMBNAIL + 110)
        tree.connect("itemClicked(QTreeWidgetItem*,int)", self._onClicked)
        tree.connect("itemChanged(QTreeWidgetItem*,int)", self._onChanged)

    def update(self) -> None:
        """Show the session's painted slices. The thumbnails follow, one with each `drawNext`."""
        painted = self._services.session.painted
        segments = self._segments() if painted else {}
        if (painted, segments) != self._shown:
            self._shown = (painted, segments)
            self._fill(painted, segments)
        self._tree.setVisible(bool(painted))
        self._undrawn = [entry.index for entry in painted]

    def drawNext(self) -> None:
        """Draw one thumbnail that may be out of date."""
        if not self._undrawn:
            return
        index = self._undrawn.pop(0)
        try:
            picture = self._services.session.thumbnail(index, _THUMBNAIL)
        except FewShotSAMError:
            return  # the volume no longer exists; the session itself reports that
        with self._filling():
            self._items[index].setIcon(_SLICE, qt.QIcon(toPixmap(squared(picture, _THUMBNAIL))))

    def selectedSlice(self) -> int | None:
        """The slice whose row is selected."""
        selected = [index for index, item in self._items.items() if item.isSelected()]
        return selected[0] if selected else None

    def _segments(self) -> dict[str, tuple[str, str]]:
        """Name and "#rrggbb" by segment id."""
        target = self._services.session.target
        try:
            found = self._services.scene.segments(target) if target is not None else []
        except FewShotSAMError:
            return {}  # as in `drawNext`
        return {each.id: (each.name, hex_color(each.color)) for each in found}

    def _fill(self, painted: tuple[PaintedSlice, ...], segments: dict[str, tuple[str, str]]) -> None:
        selected = self.selectedSlice()
        with self._filling():
            self._tree.clear()
            self._items = {}
            for entry in painted:
                item = self._items[entry.index] = _item(entry)
                self._tree.addTopLevelItem(item)
                self._tree.setItemWidget(item, _SEGMENTS, self._label(entry, segments))
                item.setSelected(entry.index == selected)

    def _label(self, entry: PaintedSlice, segments: dict[str, tuple[str, str]]) -> Any:
        label = qt.QLabel("<br>".join(_lines(entry, segments, self._tree)))
        label.setToolTip(_tip(entry, segments))
        label.setContentsMargins(0, 2, 0, 2)
        if entry.odd_ids:  # a click next to the link still shows the slice
            label.connect("linkActivated(QString)", lambda link: self._untick(int(link)))
        else:
            label.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        return label

    def _untick(self, index: int) -> None:
        self._messages.attempt(self._services.session.set_ticked, index, False)

    @contextmanager
    def _filling(self) -> Iterator[None]:
        """Ignore changes of the list in this block, as the user does not make them."""
        self._updating = True
        try:
            yield
        finally:
            self._updating = False

    def _indexOf(self, item: Any) -> int:
        return list(self._items)[self._tree.indexOfTopLevelItem(item)]

    def _onClicked(self, item: Any, column: int) -> None:
        session = self._services.session
        if session.target is not None and session.axis is not None:
            self._services.views.jumpTo(session.target.volume, session.axis, self._indexOf(item))
        self._onSelected()

    def _onChanged(self, item: Any, column: int) -> None:
        if not self._updating and column == _SLICE:
            ticked = item.checkState(_SLICE) == qt.Qt.Checked
            self._messages.attempt(self._services.session.set_ticked, self._indexOf(item), ticked)


def squared(picture: np.ndarray, size: int) -> np.ndarray:
    """The picture in the middle of a dark square, so that all rows line up."""
    height, width = picture.shape[:2]
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def _item(entry: PaintedSlice) -> Any:
    item = qt.QTreeWidgetItem()
    item.setText(_SLICE, _("Slice {0}").format(entry.index))
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(_SLICE, qt.Qt.Checked if entry.ticked else qt.Qt.Unchecked)
    item.setToolTip(_SLICE, _("Untick the slice while it is only partly painted."))
    item.setSizeHint(_SLICE, qt.QSize(0, _THUMBNAIL + 6))
    return item


def _lines(entry: PaintedSlice, segments: dict[str, tuple[str, str]], widget: Any) -> list[str]:
    """What is known about each segment, a line each, in rich text for the widget."""
    if entry.empty:
        return [_("declared empty")]

    def named(text: str, segmentId: str, most: int = _LONGEST_NAME) -> str:
        name, color = segments.get(segmentId, (segmentId, "#808080"))
        return text.format(f'<font color="{color}">■</font> {escaped(shortened(name, most))}')

    lines = []
    for each in entry.segment_ids:
        if each in entry.odd_ids:
            lines.append(f"{named('{0}', each, _LONGEST_ODD)} {colored(_('very little'), 'warning', widget)}")
        else:
            lines.append(named("{0}", each))
    if entry.odd_ids and entry.ticked:
        lines.append(f'<a href="{entry.index}">{_("Untick")}</a>')
    lines += [named(_("none of {0}"), each) for each in entry.absent_ids]
    return lines + [named(_("{0} ?"), each) for each in entry.unknown_ids]


def _tip(entry: PaintedSlice, segments: dict[str, tuple[str, str]]) -> str:
    """The meaning of the marks, and the names that are too long for their lines."""
    notes = []
    if entry.odd_ids:
        notes.append(_("Far less than on the neighbouring painted slices. Complete it, erase it, or untick the slice."))
    if entry.unknown_ids:
        notes.append(_("“?”: not painted on this slice, so it will be predicted. If it is absent, tick it below."))
    ids = (*entry.segment_ids, *entry.absent_ids, *entry.unknown_ids)
    names = [segments[each][0] for each in ids if each in segments]
    notes += [name for name in names if len(name) > _LONGEST_ODD]
    return "<br>".join(map(escaped, notes))
