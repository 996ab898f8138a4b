"""Peak memory of the encoders on CUDA, computed without a GPU: sums the storages of tensors without data.

    python Testing/Benchmark/encoder_memory.py [--encoder vit_b ...] [--batch 1 8 16]

Attention counts as in the flash kernels: its result and a float32 for each query. Not included are the allocator's
rounding, the kernels' workspace and the CUDA context (some hundred MB).
"""

from __future__ import annotations

import argparse
import gc
import weakref
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.registry import EncoderSpec, get_spec

NOWHERE = torch.device("meta")


class LiveStorage(TorchDispatchMode):
    """Bytes of all live storages on the device, now and at the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor) and each.device == NOWHERE:
                self._count(each.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            size = storage.nbytes()
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


def flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> torch.Tensor:
    """Allocate what a flash kernel does."""
    query.new_empty(query.shape[:-1], dtype=torch.float32)
    return query.new_empty(*query.shape[:-1], value.shape[-1])


def peak(spec: EncoderSpec, batch: int, dtype: torch.dtype) -> tuple[int, int]:
    """Return the bytes of the weights, and of everything else at the peak of encoding `batch` slices."""
    family, side = family_of(spec.architecture), spec.image_size
    with NOWHERE:
        network = family.image_encoder(spec.architecture)
    attention = mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", flash)
    with LiveStorage() as live, attention, torch.inference_mode():
        fast = family.fast(network, NOWHERE, dtype)
        del network  # which is on the CPU
        gc.collect()
        weights = live.most = live.now
        fast(torch.empty(batch, 3, side, side, device=NOWHERE))
        return weights, live.most - weights


def main() -> None:
    """Print a row for each encoder and batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", nargs="+", default=["tiny", "vit_b", "vit_l", "vit_h"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 16])
    options = parser.parse_args()
    print("| encoder | slices | weights, MB | peak without weights, MB | per slice, MB | planned, MB per slice |")
    print("|---|---|---|---|---|---|")
    for name in options.encoder:
        spec = get_spec(name)
        planned = family_of(spec.architecture).bytes_per_slice(spec.architecture, torch.float16.itemsize)
        for batch in options.batch:
            weights, most = peak(spec, batch, torch.float16)
            figures = (weights, most, most / batch, planned)
            print(f"| {name} | {batch} | " + " | ".join(f"{figure / 1e6:.0f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
