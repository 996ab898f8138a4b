"""Everything about the embedded Segment Editor other than its inputs: its layout, its effects, and painting."""

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
        """Activate the Paint effect."""
        self._widget.setActiveEffectByName("Paint")

    def close(self) -> None:
        """Stop listening for new effects."""
        self._factory.disconnect("effectRegistered(QString)", self._onEffectRegistered)

    def _makeRoomForBrush(self) -> None:
        """Make the list of segments as wide as the options of *Paint*, which appear below it once that is active.

        Otherwise the panel would learn only then how wide it has to be, and would need to be scrolled sideways. The
        widest effect is not the measure, as it would leave too little room for the views on a small screen.
        """
        brush = self._widget.effectByName("Paint")
        for frame in slicer.util.findChildren(self._widget, name="SegmentsTableResizableFrame"):
            if brush is not None:
                frame.setMinimumWidth(brush.optionsFrame().minimumSizeHint.width() + _BORDERS)

    def _onEffectRegistered(self) -> None:
        """Add effects of other extensions, which may load after the panel if it is Slicer's start-up module."""
        self._widget.updateEffectList()


def _withoutDeadSpace(widget: Any) -> None:
    """Remove the spacers at the bottom of the editor, at least 40 pixels high: in the panel, more follows below it."""
    for layout in slicer.util.findChildren(widget, className="QVBoxLayout"):
        last = layout.itemAt(layout.count() - 1) if layout.count() else None
        spring = last.spacerItem() if last is not None else None
        if spring is not None:
            spring.changeSize(0, 0, qt.QSizePolicy.Minimum, qt.QSizePolicy.Expanding)
            layout.update()
