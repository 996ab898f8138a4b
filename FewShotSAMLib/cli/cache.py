"""`cache info | clear`: the folder of encoded slices."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from FewShotSAMLib.sam.cache import EmbeddingCache


def info(options: argparse.Namespace) -> int:
    """`fewshotsam cache info`."""
    cache = _cache(options)
    entries = cache.entries()
    print(f"Folder: {cache.folder}")
    print(f"Used:   {_gigabytes(cache.usage())} of {_gigabytes(cache.limit_bytes)}")
    print(f"Holds:  {len(entries)} volume(s) or few-shot model(s)")
    for entry in reversed(entries):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
        damaged = "  damaged, set aside" if entry.is_damaged else ""
        print(f"  {entry.name[:12]}  {_gigabytes(entry.size_bytes)}  last used {used}{damaged}")
    return 0


def clear(options: argparse.Namespace) -> int:
    """`fewshotsam cache clear`."""
    cache = _cache(options)
    freed = cache.clear()
    left = cache.usage()
    if not options.quiet:
        print(f"Freed {_gigabytes(freed)} in {cache.folder}.")
        if left:
            print(f"{_gigabytes(left)} are in use by other processes and were left.")
    return 0


def _cache(options: argparse.Namespace) -> EmbeddingCache:
    return EmbeddingCache(Path(options.cache).absolute() if options.cache else None)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3f} GB"
