"""The errors that reach a user: one line that says what is wrong and what to do, and an exit code."""

from typing import ClassVar

from FewShotSAMLib.core.hints import Hint


class FewShotSAMError(Exception):
    """An error whose message is meant for the user; `hint` says what they can do about it.

    As text it has the command line's words for a hint; other front ends use their own, see core/hints.py.
    """

    kind: ClassVar[str] = "bug"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: Hint | str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint as one line, whatever line breaks the parts came with."""
        return " ".join(f"{self.message} {self.hint}".split())


class BadInputError(FewShotSAMError):
    """What the user gave cannot be used: a file, a value, a folder, a device that is not there."""

    kind = "bad_input"
    exit_code = 2


class MemoryShortageError(FewShotSAMError):
    """The job does not fit into the memory of the computer or of its graphics card."""

    kind = "out_of_memory"
    exit_code = 3


class CancelledError(FewShotSAMError):
    """The user stopped the job."""

    kind = "cancelled"
    exit_code = 4
