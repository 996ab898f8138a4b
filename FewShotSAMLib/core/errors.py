"""The errors that reach a user: one line that says what is wrong and what to do, and an exit code."""

import errno
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


def reason_of(error: Exception, most: int = 160) -> str:
    """What another library says of an error, on one line of at most so many characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def is_memory_limited() -> bool:
    """Whether processes may have so much memory only (ulimit -v): libraries crash where they are refused more."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


_MEMORY_PHRASES = (
    *("allocate memory", "not enough memory", "out of memory", "unable to allocate"),
    *("failed to map segment", "can't start new thread", "bad_alloc", "paging file is too small"),
)
"""How torch's RuntimeErrors tell of it (Linux, Windows, CUDA and Metal), and the loading of libraries."""
_ONEDNN = "could not create a primitive"
"""oneDNN's whole words; with more behind them they are of something that it cannot compute."""


def is_memory_shortage(error: BaseException) -> bool:
    """Whether memory ran out: Python's and NumPy's MemoryError, and torch's own, known by name and by its words.

    torch raises OutOfMemoryError for graphics cards, but a plain RuntimeError for the computer's own memory; a library
    that finds no room when it is loaded is an ImportError or OSError, often behind another one.
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
