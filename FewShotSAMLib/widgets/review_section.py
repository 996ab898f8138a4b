"""Section 3: the confidence of the result on each slice, and where to paint next."""

from __future__ import annotations

from typing import Any

from FewShotSAMLib.core.confidence_colors import SURE, UNSURE
from FewShotSAMLib.widgets.confidence_strip import ConfidenceStrip
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.widgets.workflow_texts import translated


class ReviewSection:
    """The confidence strip, the next slice to paint, and Propagate again."""

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui, self._services = ui, services
        self._strip = ConfidenceStrip(ui.stripLabel, self.jumpTo)
        ui.legendLabel.setText(_legend())
        ui.nextSliceButton.connect("clicked()", self.goToNextSlice)

    def update(self) -> None:
        """Show the session's review."""
        session = self._services.session
        review = session.review
        following = session.next_slice() if review is not None else None
        lines = [translated(each) for each in (review.summary, *review.earlier)] if review is not None else []
        self._ui.summaryLabel.setText("\n".join(lines) or _("After a run, this shows how sure the result is."))
        for widget in (self._ui.stripLabel, self._ui.legendLabel):
            widget.setVisible(review is not None)
        self._ui.nextSliceButton.setEnabled(following is not None)
        self._ui.nextSliceButton.setToolTip(
            _("Slice {0}: painting there helps most (Ctrl+Shift+N).").format(following)
            if following is not None
            else _("There is no suggestion yet: propagate first.")
        )
        reason = self._services.whyNot()
        self._ui.againButton.setEnabled(not session.is_busy and not reason and review is not None)
        every = _("Predict all slices again, including what earlier patients add.")
        again = every if session.earlier else _("Predict again where the painting has changed; takes a second or two.")
        self._ui.againButton.setToolTip(reason or again)
        self.tick()

    def tick(self) -> None:
        """Mark the slice that is currently shown."""
        session = self._services.session
        current = None
        if session.review is not None and session.target is not None:
            current = self._services.views.currentSlice(session.target.volume, session.review.axis)
        self._strip.show(session.review, current)

    def goToNextSlice(self) -> None:
        """Show the slice on which painting helps most; does nothing if there is no suggestion."""
        following = self._services.session.next_slice()
        if following is not None:
            self.jumpTo(following)

    def jumpTo(self, index: int) -> None:
        """Show a slice, along the axis of the review."""
        session = self._services.session
        axis = session.review.axis if session.review is not None else session.axis
        if session.target is not None and axis is not None:
            self._services.views.jumpTo(session.target.volume, axis, index)
            self.tick()


def _legend() -> str:
    def square(color: tuple[int, int, int]) -> str:
        return f'<font color="#{bytes(color).hex()}">■</font>'

    marks = {square(SURE): _("sure"), square(UNSURE): _("unsure"), "▀": _("painted"), "▂": _("empty")}
    marks["│"] = _("shown now")
    return "&nbsp; ".join(f"{mark}&nbsp;{meaning}" for mark, meaning in marks.items())
