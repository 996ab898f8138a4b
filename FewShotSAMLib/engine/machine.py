"""What this computer can do for FewShotSAM: devices, free memory, encoders and how long they will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.image_training import IMAGES_PER_STEP, RECOMPUTED_COST
from FewShotSAMLib.engine.pace import remembered
from FewShotSAMLib.engine.schedules import COLD_STEPS, plan_training
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, METHODS, Method
from FewShotSAMLib.sam.cache import EmbeddingCache, default_folder
from FewShotSAMLib.sam.download import download as fetch
from FewShotSAMLib.sam.memory import bytes_per_slice, free_memory
from FewShotSAMLib.sam.models import is_downloaded
from FewShotSAMLib.sam.precision import pick_device
from FewShotSAMLib.sam.registry import Architecture, EncoderSpec, all_specs, get_spec

COMPACT_SLICE, COMPACT_LEARNING = 18e9, 2e12
"""What a slice (encoding, priors, two passes of the decoder) and learning cost with the bundled encoder, as
multiplications that would take as long (docs/performance.md); the encoder's own, 0.76e9, are the least of it."""
COMPACT_HEAD_SLICE = 5e9
"""A slice with a method that has no priors and one pass: in the benchmark's rows (k = 3, one core) it took 0.3 of that
time."""
DECODER_SLICE, DECODER_LEARNING = 5e9, 3e12
"""The same for the decoder behind SAM's encoders, whose products come on top."""
EXEMPLARS, COPIES = 3, 2
START_S = 4.0
"""Until the process is there and has loaded an encoder."""
COMPACT_TRAINING = {"autosam-vit": 0.8e12, "autosam-cnn": 1.3e12, "autosam-linear": 0.5e12, "synthesis": 0.7e12}
COMPACT_TRAINING |= {"lora": 2e12, "cheap-lunch": 2.4e12}
"""Likewise, what learning by the other methods costs with the bundled encoder (measured with one segment on one core
by their default steps; more segments cost little more, as all are learned in one pass)."""
SOLVING = 0.15e12
"""That of a method that is solved at once, with any encoder (by the same rows 0.4 to 0.7 s, `few-shot` 6 s)."""
ORIGINAL_LAYERS = 3.0
"""Time of SAM's original layers, which LoRA trains through, as a multiple of ours (docs/performance.md)."""
_SIDE, _REPEATS, _MEASURING_S = 1024, (3, 30), 0.4
_OVERHEAD = 1.5
"""Time of an encoder beyond its products: norms, activations, memory traffic (measured with vit_b on a CPU)."""
_WEIGHTS_AND_TORCH = 600_000_000
"""Bytes that torch and a process take before anything is computed."""


def inspect(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Devices, free memory, encoders with an estimate for each, and the size of the cache; all ready for JSON.

    `cache` in the parameters names another folder than the usual one.
    """
    context.progress("inspect", 0, 1)
    device = pick_device("auto")
    rate = multiplications_per_second(device)
    cache = _cache(parameters)
    paces = [pace for pace in remembered(default_folder()) if pace.get("device") == str(device)]
    report = {
        "devices": devices(),
        "best_device": str(device),
        "encoders": [encoder_estimate(spec, rate, device, paces) for spec in all_specs()],
        "cache_bytes": cache.usage(),
        "cache_limit_bytes": cache.limit_bytes,
        "cache_folder": str(cache.folder),
        "memory_free_bytes": free_memory(torch.device("cpu")),
    }
    context.progress("inspect", 1, 1)
    return report


def download(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Fetch the published file of the encoder named `encoder`; whoever asks for it has asked the user before.

    Raises BadInputError for an unknown encoder and where the file cannot be had.
    """
    spec = get_spec(str(parameters.get("encoder", "")))
    path = fetch(spec, progress=lambda done, total: context.progress("download", done, total), check=context.check)
    return {"encoder": spec.name, "path": str(path)}


def clear_cache(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Delete the embeddings that no other process uses just now."""
    cache = _cache(parameters)
    return {"freed_bytes": cache.clear(), "left_bytes": cache.usage()}


def _cache(parameters: Mapping[str, Any]) -> EmbeddingCache:
    return EmbeddingCache(Path(parameters["cache"]) if parameters.get("cache") else None)


def devices() -> list[dict[str, Any]]:
    """Every device that torch can use, the CPU last; bytes are None where the system does not tell."""
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        found.append(_device(f"cuda:{number}", torch.cuda.get_device_name(number), total, free))
    if torch.backends.mps.is_available():
        place = torch.device("mps")
        found.append(_device("mps", "Apple GPU", int(torch.mps.recommended_max_memory()), free_memory(place)))
    threads = torch.get_num_threads()
    title = f"CPU, {threads} thread{'s' * (threads != 1)}"
    return [*found, _device("cpu", title, None, free_memory(torch.device("cpu")))]


def _device(name: str, title: str, total: int | None, free: int | None) -> dict[str, Any]:
    return {"name": name, "title": title, "total_bytes": total, "free_bytes": free}


def encoder_estimate(
    spec: EncoderSpec, rate: float, device: torch.device, paces: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """One encoder: what it is, whether its weights are here, and roughly how long it takes and how much memory.

    rate: multiplications per second. A run takes `start_seconds`, `training_seconds` of its method, and
    `slice_seconds` of it for each slice. paces: of earlier runs on this device (`pace.remembered`); where there is one
    it is the estimate.
    """
    known = {pace["method"]: pace for pace in paces if pace.get("encoder") == spec.name}
    training = {each.name: learning_cost(spec, each) / rate for each in METHODS}
    slices = {each.name: slice_cost(spec, each) / rate for each in METHODS}
    training |= {name: pace["training_seconds"] for name, pace in known.items()}
    slices |= {name: pace["slice_seconds"] for name, pace in known.items()}
    item_size = 2 if device.type == "cuda" else 4
    return {
        "name": spec.name,
        "title": spec.title,
        "licence": spec.licence,
        "download_bytes": spec.size_bytes if spec.is_downloaded else 0,
        "present": not spec.is_downloaded or is_downloaded(spec),
        "start_seconds": START_S,
        "training_seconds": {name: round(seconds, 1) for name, seconds in training.items()},
        "slice_seconds": {name: round(seconds, 4) for name, seconds in slices.items()},
        "memory_bytes": _WEIGHTS_AND_TORCH + 2 * spec.size_bytes + bytes_per_slice(spec.architecture, item_size),
    }


def slice_cost(spec: EncoderSpec, method: Method) -> float:
    """Encoding a slice and predicting it, as multiplications that would take as long."""
    if spec.looks_closely:
        return COMPACT_SLICE if method.name == DEFAULT_METHOD else COMPACT_HEAD_SLICE
    return DECODER_SLICE + _OVERHEAD * multiplications(spec.architecture)


def learning_cost(spec: EncoderSpec, method: Method) -> float:
    """Learning by a method's default steps, as multiplications that would take as long."""
    if method.solved:
        return SOLVING
    if spec.looks_closely:
        return COMPACT_TRAINING.get(method.name, COMPACT_LEARNING)
    encoding = _OVERHEAD * multiplications(spec.architecture)
    plan = plan_training(method, compact=False, faithful=False, warm=False, steps=None)
    cost = DECODER_LEARNING * plan.steps / COLD_STEPS
    if plan.on_cache is not None:
        cost += EXEMPLARS * COPIES * encoding * (2 if method.synthesises else 1)
    if plan.adapting is not None:
        cost += plan.adapting.steps * IMAGES_PER_STEP * RECOMPUTED_COST * ORIGINAL_LAYERS * encoding
    return cost


def multiplications(architecture: Architecture) -> float:
    """Multiplications of one slice through SAM's image encoder: its layers, and attention in windows and globally."""
    tokens, width = architecture.embedding_size**2, architecture.embed_dim
    globally = len(architecture.global_attn_indexes)
    seen = globally * tokens + (architecture.depth - globally) * (architecture.window_size**2 or tokens)
    return float(architecture.depth * 12 * tokens * width**2 + 2 * tokens * seen * width)


def multiplications_per_second(device: torch.device) -> float:
    """How fast this device multiplies matrices now, in the number format that encoding on it would take."""
    kind = torch.float16 if device.type == "cuda" else torch.float32
    left = torch.ones(_SIDE, _SIDE, dtype=kind, device=device)
    best = float("inf")
    begun, (fewest, most) = time.perf_counter(), _REPEATS
    # The best of many: another program's threads in the way make single ones many times slower.
    for number in range(most):
        started = time.perf_counter()
        if number >= fewest and started - begun > _MEASURING_S:
            break
        product = left @ left
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return _SIDE**3 / best
