"""The most memory that this process has held."""

import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"
"""Written to /proc/self/clear_refs it sets the peak of the resident memory back to what is held now (proc(5))."""


def peak_memory_bytes() -> int | None:
    """Since the process began, or since `reset_peak_memory`; None if the system does not say."""
    if _STATUS.is_file():
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Reset the peak to what is held now, if the system can; elsewhere it stays that of the process so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
