"""Measures slices per second: official `SamPredictor.set_image` against `Encoder.encode`, interleaved in one process.

Weights are random unless --checkpoint names a file: speed does not depend on them, the cosine similarity does.

    python Testing/Benchmark/encoder_throughput.py --encoder vit_b --slices 3 --json result.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from FewShotSAMLib.benchmark.environment import processor
from FewShotSAMLib.sam.checkpoint import load_sam
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.fast.calibration import cosine, synthetic_slice
from FewShotSAMLib.sam.precision import pick_device, pick_precision
from FewShotSAMLib.sam.registry import Architecture, EncoderSpec, build_sam, get_spec

_MIB = 1 << 20


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print a table, write the JSON report if requested; return the report."""
    options = _parser().parse_args(arguments)
    spec = get_spec(options.encoder)
    device = pick_device(options.device)
    precision = pick_precision(options.precision, device, spec)
    sam = load_sam(spec, options.checkpoint)[0] if options.checkpoint else _random_sam(spec)
    encoder = Encoder(spec, sam, "benchmark", device, precision, options.precision == "auto", print)
    report = {"encoder": spec.name, "weights": "checkpoint" if options.checkpoint else "random", **_environment(device)}
    report |= _compare(sam, encoder, options.slices)
    report["precision"] = encoder.precision
    if device.type == "cuda":
        report |= _measure_gpu(encoder, options.batch)
    _show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="vit_b")
    parser.add_argument("--slices", type=int, default=3, help="slices that each side encodes, alternately")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch", type=int, help="slices per batch on a GPU (default: what fits)")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def _random_sam(spec: EncoderSpec) -> Sam:
    """Return SAM with torch's initial weights; position embeddings, initially zero, get values so that they matter."""
    torch.manual_seed(0)
    sam = build_sam(spec)
    for name, parameter in sam.image_encoder.named_parameters():
        if "pos" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return sam


def _compare(sam: Sam, encoder: Encoder, count: int) -> dict[str, Any]:
    """Time both sides alternately, one slice at a time, after a warm-up of each."""
    sam.to(encoder.device)
    predictor = SamPredictor(sam)
    slices = list(_slices(encoder.image_size, count + 1))
    official, ours, similarity, memory = [], [], [], {"official": 0, "encoder": 0}
    for index, pixels in enumerate(slices):
        with _peak_memory(encoder.device, memory, "official"):
            official.append(_seconds(lambda: predictor.set_image(pixels), encoder.device))  # noqa: B023
        image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float()
        embeddings: list[torch.Tensor] = []
        with _peak_memory(encoder.device, memory, "encoder"):
            ours.append(_seconds(lambda: embeddings.append(encoder.encode(image)), encoder.device))  # noqa: B023
        if index:
            similarity.append(cosine(embeddings[0], predictor.get_image_embedding().cpu()))
    ratios = [a / b for a, b in zip(official[1:], ours[1:], strict=True)]
    return {
        "first_slice_s": ours[0],
        "official_s": official[1:],
        "encoder_s": ours[1:],
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cosine": min(similarity),
        "peak_mib": {name: round(peak / _MIB) for name, peak in memory.items()},
    }


def _measure_gpu(encoder: Encoder, batch: int | None) -> dict[str, Any]:
    """Measure images per second in batches, and as a share of the device's measured matrix peak."""
    size = batch or encoder.batch_size
    image = synthetic_slice(encoder.image_size).expand(size, -1, -1, -1).contiguous()
    encoder.encode(image)
    rate = size / min(_seconds(lambda: encoder.encode(image), encoder.device) for _ in range(5))
    peak = _matrix_peak(encoder)
    used = rate * operations_per_slice(encoder.spec.architecture) / peak
    return {"batch": size, "images_per_s": rate, "matrix_peak_tflops": peak / 1e12, "percent_of_peak": 100 * used}


def _matrix_peak(encoder: Encoder) -> float:
    """Measure operations per second of a large matrix product in the encoder's data type on its device."""
    kinds = {"fp16": torch.float16, "bf16": torch.bfloat16}
    size = 8192
    a = torch.randn(size, size, device=encoder.device).to(kinds.get(encoder.precision, torch.float32))
    torch.mm(a, a)
    return 2 * size**3 / min(_seconds(lambda: torch.mm(a, a), encoder.device) for _ in range(10))


def operations_per_slice(architecture: Architecture) -> float:
    """Return the multiplications and additions per slice, without padding, bias tables, norms and the like."""
    tokens, width = architecture.embedding_size**2, architecture.embed_dim
    linear = 12 * tokens * width**2
    whole = len(architecture.global_attn_indexes)
    keys = whole * tokens + (architecture.depth - whole) * architecture.window_size**2
    ends = tokens * (3 * architecture.patch_size**2 * width + 256 * width + 9 * 256 * 256)
    return 2.0 * (architecture.depth * linear + 2 * tokens * width * keys + ends)


def _slices(size: int, count: int) -> Iterator[np.ndarray]:
    """Yield CT-like RGB slices (size, size, 3) uint8, all different."""
    base = synthetic_slice(size).permute(1, 2, 0).numpy()
    for index in range(count):
        yield np.roll(base, 7 * index, axis=(0, 1)).astype(np.uint8)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


@contextmanager
def _peak_memory(device: torch.device, peaks: dict[str, int], name: str) -> Iterator[None]:
    """Record the peak memory within this block: of the GPU, or resident (sampled, Linux only)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield
        peaks[name] = max(peaks[name], torch.cuda.max_memory_allocated(device))
        return
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            peaks[name] = max(peaks[name], _resident_bytes())

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    yield
    ended.set()
    sampler.join()


def _resident_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _show(report: dict[str, Any]) -> None:
    print(f"{report['encoder']} ({report['weights']} weights), {report['precision']}, {report['device']}, ", end="")
    print(f"{report['threads']} threads, torch {report['torch']}")
    for a, b in zip(report["official_s"], report["encoder_s"], strict=True):
        print(f"  set_image {a:8.3f} s    encode {b:8.3f} s    {a / b:6.2f} x")
    print(f"median ratio {report['ratio']:.2f}, least cosine {report['cosine']:.6f}, peak MiB {report['peak_mib']}")
    print(f"first slice, including the choice of precision: {report['first_slice_s']:.2f} s")
    if "images_per_s" in report:
        print(f"batch {report['batch']}: {report['images_per_s']:.2f} images/s, ", end="")
        print(f"{report['percent_of_peak']:.1f} % of a matrix peak of {report['matrix_peak_tflops']:.1f} TFLOP/s")


if __name__ == "__main__":
    main(sys.argv[1:])
