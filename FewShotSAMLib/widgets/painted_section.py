"""Section 2: the painted slices and their axis, the slices to predict, and earlier patients' models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from FewShotSAMLib.widgets.earlier_list import EarlierList
from FewShotSAMLib.widgets.interaction import WheelGuard
from FewShotSAMLib.widgets.lines import AbsentLine
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _

_AXES = (None, 0, 1, 2)  # in the order of the entries in the .ui file: automatic, then the array axes


class PaintedSection:
    """The list with its buttons, the choice of the axis, the range and earlier patients."""

    def __init__(
        self, ui: Any, services: Services, messages: Messages, makeList: Callable[..., Any], onPaint: Callable[[], None]
    ) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._paint = onPaint
        self._updating = False
        self._list = makeList(ui.paintedList, services, messages, self._updateButtons)
        self._absent = AbsentLine(ui.absentLabel, services, messages)
        self._earlier = EarlierList(ui, services)
        ui.paintButton.connect("clicked()", self._onPaint)
        ui.deleteSliceButton.connect("clicked()", self._onDelete)
        ui.emptySliceButton.connect("clicked()", self.declareEmpty)
        ui.axisChoice.connect("currentIndexChanged(int)", self._onAxis)
        self._wheel = WheelGuard(ui.axisChoice, ui.firstSlice, ui.lastSlice)
        ui.rangeCheck.connect("toggled(bool)", self._onRange)
        ui.firstSlice.connect("valueChanged(int)", self._onRange)
        ui.lastSlice.connect("valueChanged(int)", self._onRange)

    def update(self) -> None:
        """Show the session's painted slices, axis and range."""
        self._updating = True
        try:
            self._list.update()
            self._ui.paintedHintFrame.setVisible(not self._services.session.painted)
            self._ui.axisChoice.setCurrentIndex(_AXES.index(self._services.session.chosen_axis))
            self._updateRange()
        finally:
            self._updating = False
        self._earlier.update()
        self._updateButtons()

    def tick(self) -> None:
        """Do a little work: draw one thumbnail, and check whether another slice is shown."""
        self._list.drawNext()
        self._updateButtons()

    def currentSlice(self) -> int | None:
        """The slice that is shown, along the axis of the painted slices."""
        session = self._services.session
        if session.target is None or session.axis is None:
            return None
        return self._services.views.currentSlice(session.target.volume, session.axis)

    def declareEmpty(self) -> None:
        """Declare that the slice that is shown contains none of the segments, or undo that."""
        current = self.currentSlice()
        if current is not None and not self._services.session.is_busy:
            self._messages.attempt(self._services.session.set_empty, current, not self._isEmpty(current))

    def _isEmpty(self, index: int) -> bool:
        return any(entry.index == index and entry.empty for entry in self._services.session.painted)

    def _updateButtons(self) -> None:
        free = not self._services.session.is_busy
        current = self.currentSlice()
        self._absent.update(current)
        button = self._ui.emptySliceButton
        button.setEnabled(free and current is not None)
        if current is None:
            button.setText(_("Declare slice empty"))
            unknown = _("Paint on a slice, or choose the axis, so that the slices are defined.")
            unseen = _("No view shows such slices of the volume. Show one, or rotate the views to the volume.")
            button.setToolTip(unknown if self._services.session.axis is None else unseen)
        else:
            text = _("Slice {0} is not empty") if self._isEmpty(current) else _("Declare slice {0} empty")
            button.setText(text.format(current))
            button.setToolTip(_("An empty slice contains none of the segments; results stop there (Ctrl+Shift+E)."))
        self._ui.deleteSliceButton.setEnabled(free and self._list.selectedSlice() is not None)
        ready = self._services.session.target is not None
        self._ui.paintButton.setEnabled(free and ready)
        brush = _("Activate the Paint effect of the Segment Editor. Shift + mouse wheel changes the brush size.")
        self._ui.paintButton.setToolTip(brush if ready else _("Choose a volume and a segmentation first."))

    def _updateRange(self) -> None:
        session = self._services.session
        axis = session.axis
        known = session.target is not None and axis is not None
        count = self._services.views.sliceCount(session.target.volume, axis) if known else 0  # type: ignore[union-attr, arg-type]
        first, last = session.range or (0, max(count - 1, 0))
        self._ui.rangeCheck.setEnabled(count > 0)
        self._ui.rangeCheck.setChecked(session.range is not None)
        for box, value in ((self._ui.firstSlice, first), (self._ui.lastSlice, last)):
            box.setEnabled(count > 0 and session.range is not None)
            box.setRange(0, max(count - 1, last))
            box.setValue(value)

    def _onPaint(self) -> None:
        self._paint()

    def _onDelete(self) -> None:
        index = self._list.selectedSlice()
        if index is not None:
            self._messages.attempt(self._services.session.delete_slice, index)

    def _onAxis(self, position: int) -> None:
        if not self._updating:
            self._messages.attempt(self._services.session.set_axis, _AXES[position])

    def _onRange(self, value: int) -> None:
        if self._updating:
            return
        limits = sorted((self._ui.firstSlice.value, self._ui.lastSlice.value))
        chosen = (limits[0], limits[1]) if self._ui.rangeCheck.checked else None
        self._services.parameters.sliceRange = chosen
        self._services.session.range = chosen
        self.update()
