"""Turns any exception of a job into the one line that the user reads."""

from __future__ import annotations

import logging
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError, MemoryShortageError
from FewShotSAMLib.core.packages import distribution_of
from FewShotSAMLib.worker.protocol import Event, error_event

EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "segment_anything", "h5py", "safetensors", "sklearn"), "engine"),
    **dict.fromkeys(("numpy", "scipy", "SimpleITK", "filelock", "platformdirs", "rich"), "engine"),
    "matplotlib": "demo",
    **dict.fromkeys(("itk", "slicer", "vtk"), "benchmark"),
}
"""Packages that not every installation has -> the extra of FewShotSAM that brings them."""
MEMORY_PHRASES = ("can't allocate memory", "not enough memory", "out of memory", "unable to allocate")
MEMORY_HINT = "Close other programs, choose a smaller encoder, or use --device cpu if the graphics card is the limit."
BUG_HINT = "This is a bug in FewShotSAM; please report it with the log file."

_log = logging.getLogger(__name__)


def failure_event(request_id: str, error: BaseException, log: Path | None) -> Event:
    """The error event for `error`; a bug's traceback goes to the log, whose path the event carries."""
    known = as_known_error(error)
    if known is not None:
        _log.info("Request %s: %s: %s", request_id, known.kind, known)
        return error_event(request_id, known.kind, known.message, known.hint)
    _log.error("Request %s failed", request_id, exc_info=error)
    return error_event(request_id, "bug", f"{type(error).__name__}: {error}", BUG_HINT, log)


def as_known_error(error: BaseException) -> FewShotSAMError | None:
    """The error as one of FewShotSAM's own; None for what nobody foresaw."""
    if isinstance(error, FewShotSAMError):
        return error
    if is_memory_shortage(error):
        return MemoryShortageError("The memory is not enough for this run.", MEMORY_HINT)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        hint = f"Run: pip install 'fewshotsam[{EXTRAS[package]}]'"
        return BadInputError(f"The package {distribution_of(package)} is not installed.", hint)
    return None


def is_memory_shortage(error: BaseException) -> bool:
    """Whether memory ran out: Python's and NumPy's MemoryError, and torch's own, known by name and by its words.

    torch raises OutOfMemoryError for graphics cards, but a plain RuntimeError for the computer's own memory.
    """
    if isinstance(error, MemoryError) or any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in MEMORY_PHRASES)
