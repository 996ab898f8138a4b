"""The messages of the workflow to the user."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.hints import CLI_WORDS, Hint, hint_words

INFO, WARNING, ERROR = "info", "warning", "error"
_HOW_TO_REPORT = "Try again. If that does not help, save your work, restart, and report this with the text of the log."


@dataclass(frozen=True)
class Message:
    """level: info, warning or error. text says what happened, hint what to do; log: path of a log file, or ""."""

    level: str
    text: str
    hint: Hint | str = ""
    log: str = ""

    def worded(self, words: Mapping[str, str]) -> str:
        """Text and hint in one line, in the words of a front end (`widgets.hints`, `web.hints`)."""
        return " ".join(f"{self.text} {hint_words(self.hint, words)}".split())

    def __str__(self) -> str:
        """Text and hint in one line, in the words of the command line."""
        return self.worded(CLI_WORDS)


CANCELLED = Message(INFO, "The run was cancelled.", "Nothing was changed.")


def message_of(error: FewShotSAMError) -> Message:
    """An error as a message; a cancelled run counts as information, not as an error."""
    level = INFO if error.kind == "cancelled" else ERROR
    return Message(level, error.message, error.hint, getattr(error, "log", ""))


@contextmanager
def reporting(say: Callable[[Message], None]) -> Iterator[None]:
    """Run the block; pass an error that is meant for the user to `say` as a message instead of raising it."""
    try:
        yield
    except FewShotSAMError as error:
        say(message_of(error))


def message_of_bug(error: Exception) -> tuple[Message, str]:
    """An unexpected error as a message, and its traceback for developers."""
    what = " ".join(f"{type(error).__name__} {error}".split())
    message = Message(ERROR, f"An unexpected error stopped what was running: {what}.", _HOW_TO_REPORT)
    return message, "".join(traceback.format_exception(error)).rstrip()
