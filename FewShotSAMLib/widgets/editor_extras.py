"""What the panel does about the embedded Segment Editor besides its inputs: its look, its effects, and painting."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import slicer.util

_BORDERS = 14  # pixels that the box around an effect's options adds to both sides, as measured in Slicer 5.13


class EditorExtras:
    """widget: the panel's qMRMLSegmentEditorWidget."""

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self._factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self._factory.connect("effectRegistered(QString)", self._onEffectRegistered)
        _withoutDeadSpace(widget)
        self._makeRoomForBrush()

    def paint(self) -> None:
        """Take the brush."""
        self._widget.setActiveEffectByName("Paint")

    def close(self) -> None:
        """Hear of no further effect."""
        self._factory.disconnect("effectRegistered(QString)", self._onEffectRegistered)

    def _makeRoomForBrush(self) -> None:
        """The list of segments is as wide as the options of *Paint*, which come below it once that effect is active.

        Else the panel would not know how wide it has to be until then, and be scrolled sideways. Not as wide as the
        widest effect, which would leave too little for the views on a small screen.
        """
        brush = self._widget.effectByName("Paint")
        for frame in slicer.util.findChildren(self._widget, name="SegmentsTableResizableFrame"):
            if brush is not None:
                frame.setMinimumWidth(brush.optionsFrame().minimumSizeHint.width() + _BORDERS)

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
