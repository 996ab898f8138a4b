"""Messages to the user: the last one, and the log, which can be copied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import qt
import slicer.util

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.hints import hint_words
from FewShotSAMLib.widgets.display import colored
from FewShotSAMLib.widgets.hints import PANEL_WORDS
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.widgets.workflow_texts import translated
from FewShotSAMLib.workflow import Message

_MOST_LINES = 5000
_STATUS_MS = 8000


class Messages:
    """The message line and the log pane."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        ui.logText.setMaximumBlockCount(_MOST_LINES)
        ui.messageFrame.hide()
        ui.closeMessageButton.connect("clicked()", self.clear)
        ui.copyLogButton.connect("clicked()", self._copyLog)

    def show(self, message: Message) -> None:
        """Show what is wrong and what to do; the message stays until it is closed or replaced."""
        hint = translated(hint_words(message.hint, PANEL_WORDS))
        text = " ".join(f"{translated(message.text)} {hint}".split())
        self._ui.messageLabel.setText(colored(text, message.level, self._ui.messageLabel))
        self._ui.messageFrame.show()
        self.status(text)  # in case another module is open
        self.log(text)
        if message.log:
            self.log(_("More details: {0}").format(message.log))
        if message.level == "error":
            logging.error("FewShotSAM: %s", text)

    def status(self, text: str) -> None:
        """Show a text briefly in Slicer's status bar."""
        slicer.util.showStatusMessage(text, _STATUS_MS)

    @contextmanager
    def busy(self, step: str) -> Iterator[None]:
        """Show the step's name and a busy cursor during work that may take seconds and cannot run in the background."""
        self.status(step)
        with slicer.util.WaitCursor():
            yield

    def clear(self) -> None:
        """Hide the last message, which was about an earlier run."""
        self._ui.messageFrame.hide()

    def log(self, line: str) -> None:
        """Add to the log pane."""
        self._ui.logText.appendPlainText(line)

    def attempt(self, action: Callable[..., Any], *values: Any) -> bool:
        """Do it, and show an error that is meant for the user. Returns whether it was done."""
        try:
            action(*values)
        except FewShotSAMError as error:
            self.show(Message("error", error.message, error.hint))
            return False
        return True

    def _copyLog(self) -> None:
        qt.QApplication.clipboard().setText(self._ui.logText.plainText)
