"""What the panel does about the embedded Segment Editor besides its inputs: its look, its effects, and painting."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import slicer.util

_BRUSHES = ("Paint", "Erase", "Threshold", "Scissors", "Islands", "Smoothing")
_BORDERS = 24  # pixels at most that the box around an effect's options adds on both sides


class EditorExtras:
    """widget: the panel's qMRMLSegmentEditorWidget."""

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self._factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self._factory.connect("effectRegistered(QString)", self._onEffectRegistered)
        _withoutDeadSpace(widget)
        self._makeRoomForBrushes()

    def paint(self) -> None:
        """Take the brush."""
        self._widget.setActiveEffectByName("Paint")

    def close(self) -> None:
        """Hear of no further effect."""
        self._factory.disconnect("effectRegistered(QString)", self._onEffectRegistered)

    def _makeRoomForBrushes(self) -> None:
        """The list of segments is as wide as what comes below it once an effect is active.

        Else the panel would not know how wide it has to be until then, and be scrolled sideways.
        """
        effects = [self._widget.effectByName(name) for name in _BRUSHES]
        widths = [effect.optionsFrame().minimumSizeHint.width() for effect in effects if effect is not None]
        for frame in slicer.util.findChildren(self._widget, name="SegmentsTableResizableFrame"):
            frame.setMinimumWidth(max(widths, default=0) + _BORDERS)

    def _onEffectRegistered(self) -> None:
        """Effects of other extensions may come after the panel: it can be the module that Slicer starts with."""
        self._widget.updateEffectList()


def _withoutDeadSpace(widget: Any) -> None:
    """The editor ends its columns with springs that are 40 pixels high at least: here more stands below it."""
    for layout in slicer.util.findChildren(widget, className="QVBoxLayout"):
        last = layout.itemAt(layout.count() - 1) if layout.count() else None
        spring = last.spacerItem() if last is not None else None
        if spring is not None:
            spring.changeSize(0, 0, qt.QSizePolicy.Minimum, qt.QSizePolicy.Expanding)
            layout.update()
