"""How much memory is available for encoding, and how many slices fit at once."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.registry import Architecture

LARGEST_BATCH = 16
"""Slices per batch beyond which no device becomes faster at SAM's image sizes."""
_USABLE = 0.7
"""Share of the free memory to plan for: allocators fragment, and other programs need some."""


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on the device, for the CPU those available without swapping; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return _free_pages()


def batch_size(architecture: Architecture, item_size: int, device: torch.device) -> int:
    """Number of slices that fit into the device's free memory at once: 1 to LARGEST_BATCH."""
    free = free_memory(device)
    if free is None:
        return 1
    each = family_of(architecture).bytes_per_slice(architecture, item_size)
    return max(1, min(LARGEST_BATCH, int(free * _USABLE) // each))


def _free_pages() -> int | None:
    """Free memory on systems without /proc (macOS, Windows); None if the system does not report it."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
