"""Where the command line begins. From here on Ctrl-C ends it with one line, also while libraries are imported."""

# signal itself: what it imports to be pleasant to use takes its time.
import _signal as signal  # type: ignore[import-not-found]
import mmap
import os
import sys

MEMORY_WORDS = (
    *("failed to map segment", "cannot allocate memory", "out of memory", "can't start new thread"),
    "paging file is too small",
)
"""How the system says that a library finds no room."""
LIBRARIES_TAKE = 256 << 20
"""Bytes of addresses that must be there: numpy's OpenBLAS ends the process itself where it finds too few."""


def main() -> int:
    """Run the command line and return its exit code."""
    signal.signal(signal.SIGINT, _stop)
    try:
        mmap.mmap(-1, LIBRARIES_TAKE).close()
        from FewShotSAMLib.cli import main as command_line  # seconds on a slow disk
    except (MemoryError, ImportError, OSError) as error:
        if not _tells_of_memory(error):
            raise
        sys.stderr.write(
            "error: The memory is not enough to load the libraries. Close other programs, or raise the limit.\n"
        )
        return 3
    return command_line()


def _tells_of_memory(error: BaseException | None) -> bool:
    """What core.errors would say, which cannot be imported where that is so."""
    if error is None:
        return False
    told = isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY_WORDS)
    return told or _tells_of_memory(error.__cause__ or error.__context__)


def _stop(number: int, frame: object) -> None:
    """An exception could strike anywhere in an import and would come with a traceback; there is nothing to lose yet."""
    os.write(2, b"error: Cancelled.\n")
    os._exit(4)
