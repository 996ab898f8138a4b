"""What this computer offers FewShotSAM: devices, free memory, encoders and how long they will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from FewShotSAMLib.core.pace import Pace
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.image_training import IMAGES_PER_STEP, RECOMPUTED_COST
from FewShotSAMLib.engine.pace import measured, remembered, warm_share_of
from FewShotSAMLib.methods.head import COLD_STEPS
from FewShotSAMLib.methods.interface import Method
from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.options import AUTOMATIC_ENCODER
from FewShotSAMLib.sam.cache import EmbeddingCache, default_folder
from FewShotSAMLib.sam.download import download as fetch
from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.memory import free_memory
from FewShotSAMLib.sam.model_files import is_downloaded
from FewShotSAMLib.sam.precision import pick_device
from FewShotSAMLib.sam.registry import Architecture, EncoderSpec, all_specs, get_spec

DECODER_SLICE, DECODER_LEARNING = 5e9, 3e12
"""Cost of a slice and of learning in the decoder behind SAM's encoders, as the number of multiplications that take as
long (docs/performance.md); the encoder's products come on top."""
EXEMPLARS, COPIES = 3, 2
START_S = 4.0
"""Time to start the process and load an encoder."""
ORIGINAL_LAYERS = 3.0
"""Time of SAM's original layers, through which LoRA trains, as a multiple of ours (docs/performance.md)."""
_SIDE = 1024
_FEWEST, _MOST, _MEASURING_S = 3, 30, 0.4
_OVERHEAD = 1.5
"""Time of an encoder beyond its products: norms, activations, memory traffic (measured with vit_b on a CPU)."""
_WEIGHTS_AND_TORCH = 600_000_000
"""Bytes that torch and the process take before any computation."""


@dataclass(frozen=True)
class Speed:
    """Speed of a device: multiplications per second in products of large matrices, of which SAM's encoders consist, and
    seconds of one pass of the bundled encoder, which measures small work better."""

    multiplications_per_second: float
    compact_seconds: float

    def of(self, spec: EncoderSpec) -> float:
        """Seconds of one unit of a method's costs: a pass of the bundled encoder, or one product."""
        return self.compact_seconds if spec.architecture.fine_channels else 1 / self.multiplications_per_second


def inspect(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Report devices, free memory, encoders with an estimate for each, and the cache's size; ready for JSON.

    The parameter `cache` names a folder other than the default.
    """
    context.progress("inspect", 0, 1)
    device = pick_device("auto")
    speed = Speed(multiplications_per_second(device), compact_seconds(device))
    cache = _cache(parameters)
    paces = [pace for pace in remembered(default_folder()) if pace.get("device") == str(device)]
    report = {
        "devices": devices(),
        "best_device": str(device),
        "encoders": [encoder_estimate(spec, speed, device, paces) for spec in all_specs()],
        "cache_bytes": cache.usage(),
        "cache_limit_bytes": cache.limit_bytes,
        "cache_folder": str(cache.folder),
        "memory_free_bytes": free_memory(torch.device("cpu")),
    }
    context.progress("inspect", 1, 1)
    return report


def download(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Download the published file of the encoder named `encoder`; the caller has asked the user for consent. Raises
    BadInputError for an unknown encoder, or if the file cannot be downloaded."""
    spec = get_spec(str(parameters.get("encoder", "")))
    path = fetch(spec, progress=lambda done, total: context.progress("download", done, total), check=context.check)
    return {"encoder": spec.name, "path": str(path)}


def clear_cache(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Delete the embeddings that no other process is using."""
    cache = _cache(parameters)
    return {"freed_bytes": cache.clear(), "left_bytes": cache.usage()}


def _cache(parameters: Mapping[str, Any]) -> EmbeddingCache:
    return EmbeddingCache(Path(parameters["cache"]) if parameters.get("cache") else None)


def devices() -> list[dict[str, Any]]:
    """Every device that torch can use, the CPU last; bytes are None if the system does not report them."""
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
    spec: EncoderSpec, speed: Speed, device: torch.device, paces: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """One encoder: what it is, whether its weights are present, and roughly how much time and memory it takes.

    A run takes `start_seconds` if the process has to be started, plus the time given by the `core.pace.Pace` of its
    method. paces: of earlier runs on this device (`pace.remembered`); their measurements replace the estimates.
    """
    known = {pace["method"]: measured(pace) for pace in paces if pace.get("encoder") == spec.name}
    expected = {each.name: expected_pace(spec, each.load(), speed) for each in METHODS}
    all_paces = {name: replace(pace, **known.get(name, {})) for name, pace in expected.items()}
    item_size = 2 if device.type == "cuda" else 4
    each = family_of(spec.architecture).bytes_per_slice(spec.architecture, item_size)
    return {
        "name": spec.name,
        "title": spec.title,
        "licence": spec.licence,
        "download_bytes": spec.size_bytes if spec.is_downloaded else 0,
        "present": is_downloaded(spec),
        "start_seconds": START_S,
        "paces": {name: asdict(pace) for name, pace in all_paces.items()},
        "memory_bytes": _WEIGHTS_AND_TORCH + 2 * spec.size_bytes + each,
    }


def expected_pace(spec: EncoderSpec, method: Method, speed: Speed) -> Pace:
    """A method's pace estimated from what it computes, used until a run has measured it."""
    own, unit = method.for_encoder(spec.architecture), speed.of(spec)
    learning = learning_cost(spec, method) * unit
    if spec.architecture.fine_channels:
        encoding, predicting = unit, (own.slice_cost - 1) * unit
    else:
        encoding, predicting = _OVERHEAD * multiplications(spec.architecture) * unit, DECODER_SLICE * unit
    continuing = learning * warm_share_of(method, spec.architecture)
    return Pace(learning, continuing, encoding, predicting, own.learning_share, own.segment_share)


def learning_cost(spec: EncoderSpec, method: Method) -> float:
    """Learning by a method's default steps, in the units of `Speed`."""
    if spec.architecture.fine_channels:
        return method.for_encoder(spec.architecture).learning_cost
    if method.fixed_cost is not None:
        return method.fixed_cost
    encoding = _OVERHEAD * multiplications(spec.architecture)
    plan = method.plan(spec.architecture, faithful=False, warm=False, steps=None)
    cost = DECODER_LEARNING * plan.steps / COLD_STEPS
    if plan.on_cache is not None:
        cost += EXEMPLARS * COPIES * encoding * (2 if method.synthesises else 1)
    if plan.adapting is not None:
        cost += plan.adapting.steps * IMAGES_PER_STEP * RECOMPUTED_COST * ORIGINAL_LAYERS * encoding
    return cost


def multiplications(architecture: Architecture) -> float:
    """Multiplications for one slice in SAM's image encoder: its layers, and windowed and global attention."""
    tokens, width = architecture.embedding_size**2, architecture.embed_dim
    globally = len(architecture.global_attn_indexes)
    seen = globally * tokens + (architecture.depth - globally) * (architecture.window_size**2 or tokens)
    return float(architecture.depth * 12 * tokens * width**2 + 2 * tokens * seen * width)


def compact_seconds(device: torch.device) -> float:
    """Seconds of one pass of the bundled encoder's network on this device now; its weights do not matter."""
    architecture = get_spec(AUTOMATIC_ENCODER).architecture
    side = architecture.image_size
    with torch.inference_mode():
        network = family_of(architecture).image_encoder(architecture).eval().to(device)
        image = torch.zeros(1, 3, side, side, device=device)
        return _best(lambda: float(network(image).flatten()[0]))


def _best(work: Callable[[], float]) -> float:
    """The shortest of many measurements, in seconds: other programs' threads make single ones many times slower."""
    begun, times = time.perf_counter(), list[float]()
    while len(times) < _FEWEST or (len(times) < _MOST and time.perf_counter() - begun < _MEASURING_S):
        started = time.perf_counter()
        work()  # it returns a number, so it waits for the device
        times.append(time.perf_counter() - started)
    return min(times)


def multiplications_per_second(device: torch.device) -> float:
    """Multiplications per second in matrix products on this device now, in the number format used for encoding."""
    kind = torch.float16 if device.type == "cuda" else torch.float32
    left = torch.ones(_SIDE, _SIDE, dtype=kind, device=device)
    return _SIDE**3 / _best(lambda: float((left @ left)[0, 0]))
