"""Training that gives the same weights every time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Use deterministic kernels on CUDA, where some gradients, such as those of fused attention, are summed in varying
    order. cuBLAS also needs `worker.process.REPEATABLE` in the environment before it starts."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
