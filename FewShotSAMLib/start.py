"""Entry point of the command line. From here on Ctrl-C ends it with one line, even while libraries are imported."""

# The C module behind `signal`, because the imports of the Python wrapper around it take time.
import _signal as signal  # type: ignore[import-not-found]
import mmap
import os
import sys

MEMORY_WORDS = (
    *("failed to map segment", "cannot allocate memory", "out of memory", "can't start new thread"),
    "paging file is too small",
)
"""Phrases with which the system reports that a library does not fit into memory."""
LIBRARIES_TAKE = 256 << 20
"""Bytes of address space that must be available: with less, numpy's OpenBLAS ends the process by itself."""


def main() -> int:
    """Run the command line and return its exit code."""
    signal.signal(signal.SIGINT, _stop)
    try:
        mmap.mmap(-1, LIBRARIES_TAKE).close()
        from FewShotSAMLib.cli import main as command_line  # seconds on a slow disk
    except (MemoryError, ImportError, OSError) as error:
        if not _is_memory_shortage(error):
            raise
        sys.stderr.write(
            "error: There is not enough memory to load the libraries. Close other programs, or raise the limit.\n"
        )
        return 3
    return command_line()


def _is_memory_shortage(error: BaseException | None) -> bool:
    """Does the work of core.errors.is_memory_shortage, which cannot be imported if memory has run out."""
    if error is None:
        return False
    is_shortage = isinstance(error, MemoryError) or any(words in str(error).lower() for words in MEMORY_WORDS)
    return is_shortage or _is_memory_shortage(error.__cause__ or error.__context__)


def _stop(number: int, frame: object) -> None:
    """Exit at once: an exception could strike anywhere in an import and print a traceback; nothing can be lost yet."""
    os.write(2, b"error: Cancelled.\n")
    os._exit(4)
