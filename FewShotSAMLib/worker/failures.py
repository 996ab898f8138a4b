"""Turns any exception of a job into the one line that the user reads."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError, MemoryShortageError, is_memory_shortage
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.packages import distribution_of
from FewShotSAMLib.worker.protocol import Event, error_event

EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "segment_anything", "h5py", "safetensors", "sklearn"), "engine"),
    **dict.fromkeys(("numpy", "scipy", "SimpleITK", "filelock", "platformdirs", "rich"), "engine"),
    "matplotlib": "demo",
    **dict.fromkeys(("itk", "slicer", "vtk"), "benchmark"),
}
"""Packages that not every installation has -> the extra of FewShotSAM that installs them."""
BUG_HINT = "This is a bug in FewShotSAM; please report it with the log file."

_log = logging.getLogger(__name__)


def failure_event(request_id: str, error: BaseException, log: Path | None, reading: Path | None = None) -> Event:
    """The error event for `error`; a bug's traceback goes to the log, whose path the event carries. reading: the file
    that was being read."""
    known = as_known_error(error, reading)
    if known is not None:
        _log.info("Request %s: %s: %s", request_id, known.kind, known, exc_info=None if known is error else error)
        return error_event(request_id, known.kind, known.message, known.hint)
    _log.error("Request %s failed", request_id, exc_info=error)
    return error_event(request_id, "bug", f"{type(error).__name__}: {error}", BUG_HINT, log)


def as_known_error(error: BaseException, reading: Path | None = None) -> FewShotSAMError | None:
    """Convert an error to one of FewShotSAM's own, also a disk error that names its file; None if it is unexpected."""
    if isinstance(error, FewShotSAMError):
        return error
    if is_memory_shortage(error):
        return MemoryShortageError("There is not enough memory for this run.", hint("free-memory"))
    file = getattr(error, "filename", None) or reading
    if isinstance(error, OSError) and file and error.strerror:
        message = f"{os.fsdecode(file)} cannot be used ({error.strerror})."
        return BadInputError(message, "Check the disk, the folder and its permissions.")
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        message = f"The package {distribution_of(package)} is not installed."
        return BadInputError(message, hint("install-packages", extra=EXTRAS[package]))
    return None
