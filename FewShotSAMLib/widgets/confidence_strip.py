"""The confidence strip, where a click shows a slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from FewShotSAMLib.widgets.display import toPixmap
from FewShotSAMLib.widgets.strip_image import Color, columnSlices, stripImage
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import Review, SliceReview

_HEIGHT = 42
_ORIGINS = {
    "painted": _("Slice {0}: painted"),
    "empty": _("Slice {0}: declared empty"),
    "predicted": _("Slice {0}: predicted, confidence {1} %"),
}


class ConfidenceStrip(qt.QObject):
    """Shows a `Review` on a plain QLabel of the .ui file.

    The picture is an array, and an event filter watches the mouse: Slicer's own Python code uses both, and unlike in a
    QWidget with an overridden paintEvent, no C++ drawing calls into Python, where an exception would leave a painter
    open.
    """

    def __init__(self, label: Any, onClicked: Callable[[int], None]) -> None:
        super().__init__()
        self._label = label
        self._onClicked = onClicked
        self._review: Review | None = None
        self._shown: tuple[Any, ...] | None = None
        label.setMinimumHeight(_HEIGHT)
        label.setMouseTracking(True)
        label.installEventFilter(self)

    def show(self, review: Review | None, current: int | None) -> None:
        """Draw it with the slice `current` marked; does nothing if that is already drawn."""
        self._review = review if review is not None and review.slices else None
        width = max(self._label.width, 1)
        colors = self._colors()
        if self._shown == (self._review, current, width, colors):
            return
        self._shown = (self._review, current, width, colors)
        if self._review is None:
            self._label.clear()
        else:
            self._label.setPixmap(toPixmap(stripImage(self._review, current, width, _HEIGHT, *colors)))

    def _colors(self) -> tuple[Color, ...]:
        """The colours of text and background, as in the legend."""
        palette = self._label.palette
        found = [palette.color(role) for role in (qt.QPalette.WindowText, qt.QPalette.Window)]
        return tuple((color.red(), color.green(), color.blue()) for color in found)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Jump to the slice on clicking or dragging; the tooltip describes the slice under the mouse."""
        if self._review is None:
            return False
        kind = event.type()
        if kind == qt.QEvent.MouseButtonPress:
            self._onClicked(self._at(_column(event)).index)
        elif kind == qt.QEvent.MouseMove:
            entry = self._at(_column(event))
            if event.buttons() == qt.Qt.LeftButton:
                self._onClicked(entry.index)
            text = _ORIGINS[entry.origin].format(entry.index, round(100 * entry.confidence))
            self._label.setToolTip(text)
        elif kind in (qt.QEvent.Resize, qt.QEvent.PaletteChange):
            self.show(self._review, self._shown[1] if self._shown else None)
        return False

    def _at(self, x: int) -> SliceReview:
        assert self._review is not None
        width = max(self._label.width, 1)
        return self._review.slices[columnSlices(self._review, width)[min(max(x, 0), width - 1)]]


def _column(event: Any) -> int:
    """The x coordinate of the mouse, which has another name in Qt 6."""
    return round(event.position().x()) if hasattr(event, "position") else int(event.pos().x())
