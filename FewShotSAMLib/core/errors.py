"""The errors that reach a user: one line that says what is wrong and what to do, and an exit code."""

import errno
from typing import ClassVar

from FewShotSAMLib.core.hints import Hint


class FewShotSAMError(Exception):
    """An error whose message is meant for the user; `hint` says what they can do about it.

    As a string it holds the hint in the command line's words; other front ends use their own, see core/hints.py.
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
    """The user's input cannot be used: a file, a value, a folder, or a device that does not exist."""

    kind = "bad_input"
    exit_code = 2


class MemoryShortageError(FewShotSAMError):
    """The job does not fit into the memory of the computer or of its GPU."""

    kind = "out_of_memory"
    exit_code = 3


class CancelledError(FewShotSAMError):
    """The user stopped the job."""

    kind = "cancelled"
    exit_code = 4


def one_line_reason(error: Exception, most: int = 160) -> str:
    """Another library's error message, on one line of at most `most` characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def is_memory_limited() -> bool:
    """Whether the memory of processes is limited (ulimit -v): libraries crash when they are refused more."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


_MEMORY_PHRASES = (
    *("allocate memory", "not enough memory", "out of memory", "unable to allocate"),
    *("failed to map segment", "can't start new thread", "bad_alloc", "paging file is too small"),
)
"""Phrases in torch's RuntimeErrors (Linux, Windows, CUDA and Metal) and in errors from loading libraries."""
_ONEDNN = "could not create a primitive"
"""oneDNN's entire message for it; longer messages that begin so are about operations that it does not support."""


def is_memory_shortage(error: BaseException) -> bool:
    """Whether memory ran out: Python's and NumPy's MemoryError, or torch's errors, recognised by name and phrase.

    torch raises OutOfMemoryError for GPUs, but a plain RuntimeError for the computer's own memory; loading a
    library that does not fit raises ImportError or OSError, often as the cause of another error.
    """
    if isinstance(error, MemoryError) or any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__):
        return True
    if isinstance(error, RuntimeError | ImportError | OSError):
        text = str(error).lower()
        if getattr(error, "errno", None) == errno.ENOMEM or any(phrase in text for phrase in _MEMORY_PHRASES):
            return True
        if text == _ONEDNN:
            return True
    if isinstance(error, SystemError) and is_memory_limited():
        return True  # compiled code that failed and did not say why
    behind = error.__cause__ or error.__context__
    return isinstance(error, ImportError) and behind is not None and is_memory_shortage(behind)
