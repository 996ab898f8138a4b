"""What the workflow has to say to the user."""

from __future__ import annotations

from dataclasses import dataclass

from FewShotSAMLib.core.errors import FewShotSAMError

INFO, WARNING, ERROR = "info", "warning", "error"


@dataclass(frozen=True)
class Message:
    """level: info, warning or error. text says what happened, hint what can be done; log: a file with more, or ""."""

    level: str
    text: str
    hint: str = ""
    log: str = ""

    def __str__(self) -> str:
        """Text and hint in one line."""
        return " ".join(f"{self.text} {self.hint}".split())


def message_of(error: FewShotSAMError) -> Message:
    """An error as a message; being cancelled is none."""
    level = INFO if error.kind == "cancelled" else ERROR
    return Message(level, error.message, error.hint, getattr(error, "log", ""))
