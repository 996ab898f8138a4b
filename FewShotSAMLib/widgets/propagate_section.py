"""The strip that is always visible: Propagate, which becomes Cancel; progress; the preview, Apply and Discard."""

from __future__ import annotations

from typing import Any

import slicer

from FewShotSAMLib.widgets.display import colored, escaped
from FewShotSAMLib.widgets.messages import Messages
from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.widgets.workflow_texts import translated
from FewShotSAMLib.workflow import Progress, State
from FewShotSAMLib.workflow.cost import cost_of, format_seconds
from FewShotSAMLib.workflow.scene import ScenePreview
from FewShotSAMLib.workflow.state import BUSY

_STEPS = 1000  # of the progress bar
_MAKING_SURFACE = _("Creating the surface for the 3D view…")


class PropagateSection:
    """Starts and stops a run and shows how far it is."""

    def __init__(self, ui: Any, services: Services, messages: Messages) -> None:
        self._ui, self._services, self._messages = ui, services, messages
        self._preview: ScenePreview | None = None  # the last one shown, and whether it had all its slices
        self._complete = False
        ui.progressFrame.hide()
        ui.progressBar.setTextVisible(False)
        ui.propagateButton.connect("clicked()", self.propagateOrCancel)
        ui.wholeButton.hide()
        ui.wholeButton.connect("clicked()", self._onWhole)
        ui.firstAnswerButton.hide()
        ui.firstAnswerButton.connect("clicked()", self._onFirstAnswer)
        ui.applyButton.connect("clicked()", self._onApply)
        ui.discardButton.connect("clicked()", self._onDiscard)
        ui.opacitySlider.connect("valueChanged(int)", self._onOpacity)
        ui.show3DButton.connect("toggled(bool)", self._onShow3D)

    def propagateOrCancel(self) -> None:
        """Do what the button does; also called by a shortcut."""
        session = self._services.session
        if session.state in BUSY:
            session.cancel()
        else:
            self._propagate()

    def _propagate(self, whole: bool = False) -> None:
        if not self._services.whyNot():
            self._messages.clear()
            self.showProgress(Progress("", _("Starting…"), None, None))
            self._messages.attempt(self._services.session.propagate, *([True] if whole else []))

    def showProgress(self, progress: Progress) -> None:
        """Show stage, progress bar and time left."""
        self._ui.stageLabel.setText(translated(progress.text))
        known = progress.fraction is not None
        self._ui.progressBar.setRange(0, _STEPS if known else 0)
        if progress.fraction is not None:
            self._ui.progressBar.setValue(round(_STEPS * progress.fraction))
        self._ui.firstAnswerButton.setVisible(progress.can_finish)
        left = progress.remaining_s
        self._ui.timeLabel.setText("" if left is None else _("{0} left").format(format_seconds(left)))

    def update(self) -> None:
        """Show the state of the session."""
        session = self._services.session
        busy = session.state in BUSY
        reason = "" if busy else self._services.whyNot()
        button = self._ui.propagateButton
        button.setText(self._buttonText(session.state))
        button.setEnabled(session.state in (State.PREPARING, State.RUNNING) or (not busy and not reason))
        button.setToolTip(self._toolTip(session.state, reason))
        canImprove = session.review is not None and session.review.can_improve
        self._ui.wholeButton.setVisible(canImprove and not busy)
        self._ui.wholeButton.setEnabled(not reason)
        self._ui.progressFrame.setVisible(busy)
        line = self._line(reason)
        self._ui.costLabel.setText(line)
        self._ui.costLabel.setVisible(bool(line))
        self._updatePreview()

    def _line(self, reason: str) -> str:
        """The line above the button: why it is disabled, else the estimate. Missing packages are shown elsewhere."""
        session = self._services.session
        if session.state in BUSY or session.preview is not None or self._services.missing:
            return ""
        return escaped(reason) or costText(self._services, self._ui.costLabel)

    def _buttonText(self, state: State) -> str:
        if state is State.CANCELLING:
            return _("Cancelling…")
        return _("Cancel") if state in BUSY else _("Propagate")

    def _toolTip(self, state: State, reason: str) -> str:
        if state in BUSY:
            return _("Stop. Nothing in the segmentation has been changed (Ctrl+Shift+P).")
        return reason or _("Learn from the painted slices and segment the others (Ctrl+Shift+P).")

    def _updatePreview(self) -> None:
        session = self._services.session
        shown = session.preview is not None
        complete = shown and session.state is State.PREVIEW
        self._ui.previewFrame.setVisible(shown)
        self._ui.opacitySlider.setEnabled(shown)
        self._ui.show3DButton.setEnabled(shown)
        self._adjust(session.preview, complete)
        for button, what in (
            (self._ui.applyButton, _("Write the result into the segmentation; one Undo reverts it.")),
            (self._ui.discardButton, _("Discard the result; the segmentation stays unchanged.")),
        ):
            button.setEnabled(complete)
            button.setToolTip(what if complete else _("Wait until all slices are predicted, or cancel."))

    def _adjust(self, preview: ScenePreview | None, complete: bool) -> None:
        """Give a new preview the slider's opacity, and a complete one a new surface with all slices."""
        if preview is not None and preview is not self._preview:
            preview.set_opacity(self._ui.opacitySlider.value / 100)
        isNew = complete and not self._complete
        self._preview, self._complete = preview, complete
        if preview is not None and isNew and self._ui.show3DButton.checked:
            with self._messages.busy(_MAKING_SURFACE):
                preview.set_shown_in_3d(True)

    def _onApply(self) -> None:
        session = self._services.session
        target = session.target
        with self._messages.busy(_("Writing the result into the segmentation…")):
            self._messages.attempt(session.apply)
            if target is not None and session.state is State.IDLE and self._ui.show3DButton.checked:
                self._showSurfaceOf(target.segmentation)

    def _showSurfaceOf(self, segmentationId: str) -> None:
        """Keep the 3D surface that the preview had visible after Apply."""
        node = slicer.mrmlScene.GetNodeByID(segmentationId)
        if node is not None:
            node.CreateClosedSurfaceRepresentation()

    def _onWhole(self) -> None:
        self._propagate(whole=True)

    def _onFirstAnswer(self) -> None:
        self._ui.firstAnswerButton.hide()
        self._services.session.use_first_answer()

    def _onDiscard(self) -> None:
        self._messages.attempt(self._services.session.discard)

    def _onOpacity(self, percent: int) -> None:
        if self._services.session.preview is not None:
            self._services.session.preview.set_opacity(percent / 100)

    def _onShow3D(self, shown: bool) -> None:
        if self._services.session.preview is not None:
            with self._messages.busy(_MAKING_SURFACE if shown else ""):
                self._services.session.preview.set_shown_in_3d(shown)


def costText(services: Services, label: Any) -> str:
    """Rich text for a label: the duration of a run, and in red a lack of memory; "" while nothing is known."""
    session, work = services.session, None
    if session.target is not None and session.axis is not None:
        work = session.work(services.views.sliceCount(session.target.volume, session.axis))
    cost = cost_of(session.machine, session.settings, work, bool(session.earlier))
    if cost is None:
        return ""
    lines = [(translated(line.text), line is cost.memory) for line in cost.shown]
    return "<br>".join(colored(text, "error" if isShort else "info", label) for text, isShort in lines)
