"""The panel as a whole: it loads, and follows the session from state to state."""

import time
from typing import Any

import fakes
import pytest
import qt
import slicer
import slicer.util
from harness import application

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.workflow import Message, Progress, State


def test_it_loads_and_hands_over_the_volume_with_a_new_segmentation(panel: Any, scene: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    created = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert panel.session.called("set_inputs")[-1] == (scene.volume.GetID(), created.GetID())
    assert panel.ui.segmentationSelector.currentNodeID == created.GetID()
    editor = [call for call in panel.editor.calls if call[0] in ("setSegmentationNode", "setSourceVolumeNode")]
    assert editor[-2:] == [("setSegmentationNode", created), ("setSourceVolumeNode", scene.volume)]


def test_propagate_becomes_cancel_and_back(panel: Any) -> None:
    button = panel.ui.propagateButton
    panel.go(painted=fakes.painted(10, 20), axis=0)
    assert (button.text, button.enabled) == ("Propagate", True)
    button.click()
    assert panel.session.called("propagate") == [()]
    panel.go(state=State.PREPARING)
    assert (button.text, button.enabled, panel.ui.progressFrame.visible) == ("Cancel", True, True)
    panel.go(state=State.RUNNING)
    panel.say("progressed", Progress("encode", "Encoding slices, 34 of 112", 0.3, 75.0))
    assert panel.ui.stageLabel.text == "Encoding slices, 34 of 112"
    assert panel.ui.timeLabel.text == "75 s left"
    assert panel.ui.progressBar.value / panel.ui.progressBar.maximum == pytest.approx(0.3)
    button.click()
    assert panel.session.called("cancel") == [()]
    panel.go(state=State.CANCELLING)
    assert (button.text, button.enabled) == ("Cancelling…", False)
    panel.go(state=State.IDLE)
    assert (button.text, button.enabled, panel.ui.progressFrame.visible) == ("Propagate", True, False)


def test_the_tooltip_of_a_disabled_button_says_why(panel: Any) -> None:
    panel.go(reason="Paint one more slice: two are needed.")
    assert not panel.ui.propagateButton.enabled
    assert panel.ui.propagateButton.toolTip == "Paint one more slice: two are needed."
    panel.ui.propagateButton.click()
    assert panel.session.called("propagate") == []


def test_progress_without_an_end_shows_a_busy_bar(panel: Any) -> None:
    panel.go(state=State.RUNNING)
    panel.say("progressed", Progress("load", "Loading the encoder", None, None))
    assert (panel.ui.progressBar.maximum, panel.ui.timeLabel.text) == (0, "")


def test_preview_controls(panel: Any) -> None:
    ui, preview = panel.ui, fakes.FakePreview()
    assert not ui.previewFrame.visible
    panel.go(state=State.RUNNING, preview=preview)
    assert ui.previewFrame.visible
    assert not ui.applyButton.enabled
    assert "Wait" in ui.applyButton.toolTip
    ui.opacitySlider.setValue(30)
    ui.show3DButton.click()
    assert preview.calls == [("opacity", 0.5), ("opacity", 0.3), ("3d", True)]
    panel.go(state=State.PREVIEW, review=fakes.review())
    ui.applyButton.click()
    ui.discardButton.click()
    assert panel.session.calls[-2:] == [("apply",), ("discard",)]
    panel.go(state=State.IDLE, preview=None)
    assert not ui.previewFrame.visible
    assert ui.show3DButton.checked, "the next preview is shown in 3D, too"


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_messages_are_shown_and_logged(panel: Any, level: str) -> None:
    panel.say("said", Message(level, "The process <died>.", "Try again.", log="/logs/1.txt"))
    assert panel.ui.messageFrame.visible
    assert "The process &lt;died&gt;. Try again." in panel.ui.messageLabel.text
    assert panel.ui.logText.plainText.splitlines() == ["The process <died>. Try again.", "More details: /logs/1.txt"]
    panel.ui.closeMessageButton.click()
    assert not panel.ui.messageFrame.visible


def test_a_new_run_takes_the_last_message_away(panel: Any) -> None:
    panel.say("said", Message("error", "The process died."))
    panel.ui.propagateButton.click()
    assert not panel.ui.messageFrame.visible


def test_errors_of_the_session_are_messages(panel: Any) -> None:
    panel.go(painted=fakes.painted(10))
    panel.session.fails_with = BadInputError("The volume is gone.", "Choose another.")
    panel.ui.propagateButton.click()
    assert "The volume is gone. Choose another." in panel.ui.messageLabel.text


def test_the_log_can_be_copied(panel: Any) -> None:
    panel.say("logged", "epoch 1")
    panel.say("logged", "epoch 2")
    panel.ui.copyLogButton.click()
    assert qt.QApplication.clipboard().text() == "epoch 1\nepoch 2"


def test_done_sections_fold_away(panel: Any) -> None:
    ui = panel.ui
    assert [ui.inputsSection.collapsed, ui.paintedSection.collapsed, ui.reviewSection.collapsed] == [False, False, True]
    panel.go(state=State.PREPARING)
    assert [ui.inputsSection.collapsed, ui.paintedSection.collapsed] == [True, True]
    ui.inputsSection.collapsed = False
    panel.go(state=State.RUNNING)
    assert not ui.inputsSection.collapsed  # as the user wants it
    panel.go(state=State.PREVIEW, review=fakes.review())
    assert not ui.reviewSection.collapsed
    ui.inputsSection.collapsed = True
    ui.nextSliceButton.click()
    assert not ui.inputsSection.collapsed


def test_the_timer_ticks_until_the_panel_is_closed(panel: Any) -> None:
    before = panel.session.polls
    _letTimeoutsPass()
    assert 2 <= panel.session.polls - before <= 5  # 200 ms, 50 ms each
    panel.widget.cleanup()
    before = panel.session.polls
    _letTimeoutsPass()
    assert panel.session.polls == before


def _watchBusy(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[str, bool]]:
    """Record what the status bar said, and whether the cursor was busy, at each call."""
    said, seen = [""], []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: said.append(text))

    def call(*values: Any) -> None:
        cursor = qt.QApplication.overrideCursor()
        seen.append((said[-1], cursor is not None and cursor.shape() == qt.Qt.WaitCursor))

    monkeypatch.setattr(owner, name, call, raising=False)
    return seen


def test_long_steps_have_a_name_and_a_busy_cursor(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    preview = fakes.FakePreview()
    panel.go(state=State.RUNNING, preview=preview)
    panel.go(state=State.PREVIEW, review=fakes.review())
    shown = _watchBusy(monkeypatch, preview, "set_shown_in_3d")
    panel.ui.show3DButton.click()
    applied = _watchBusy(monkeypatch, panel.session, "apply")
    panel.ui.applyButton.click()
    panel.dialogs.answer = "/x/liver.seg.nrrd"
    exported = _watchBusy(monkeypatch, panel.session, "export")
    panel.ui.exportButton.click()
    assert shown == [("Creating the surface for the 3D view…", True)]
    assert applied == [("Writing the result into the segmentation…", True)]
    assert exported == [("Writing liver.seg.nrrd…", True)]
    assert qt.QApplication.overrideCursor() is None


def test_what_was_seen_in_3d_is_seen_after_apply(panel: Any) -> None:
    node = slicer.mrmlScene.GetNodeByID(panel.session.target.segmentation)
    surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    panel.session.apply = lambda: panel.session.go(state=State.IDLE, preview=None)
    for shown in (False, True):
        panel.go(state=State.PREVIEW, preview=fakes.FakePreview())
        panel.ui.show3DButton.setChecked(shown)
        panel.ui.applyButton.click()
        panel.wait(2)
        assert node.GetSegmentation().ContainsRepresentation(surface) == shown


def test_a_result_that_was_not_applied_makes_no_surface(panel: Any) -> None:
    node = slicer.mrmlScene.GetNodeByID(panel.session.target.segmentation)
    panel.go(state=State.PREVIEW, preview=fakes.FakePreview())
    panel.ui.show3DButton.setChecked(True)
    panel.session.fails_with = BadInputError("The segmentation is gone.", "Choose another.")
    panel.ui.applyButton.click()
    surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    assert not node.GetSegmentation().ContainsRepresentation(surface)


def test_why_nothing_can_be_propagated_stands_above_the_button(panel: Any) -> None:
    panel.go(reason="Paint the structure on a few slices first.")
    assert panel.ui.costLabel.visible and panel.ui.costLabel.text == "Paint the structure on a few slices first."
    panel.go(reason="", state=State.RUNNING)
    assert not panel.ui.costLabel.visible


def test_the_brush_is_taken_when_asked(panel: Any) -> None:
    assert panel.editor.activeEffect() is None
    assert panel.ui.paintButton.visible and panel.ui.paintButton.enabled
    panel.ui.inputsSection.collapsed = True
    panel.ui.paintButton.click()
    assert panel.editor.activeEffect().name == "Paint"
    assert not panel.ui.inputsSection.collapsed
    panel.go(axis=0, painted=fakes.painted(10))
    assert not panel.ui.paintButton.visible, "whoever has painted knows how"


def _letTimeoutsPass() -> None:
    end = time.monotonic() + 0.2
    application.until(lambda: time.monotonic() > end)
