"""Computes one row: runs a method on a task, measures time, memory and agreement, and records a failure."""

import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.benchmark.across import learned
from FewShotSAMLib.benchmark.environment import describe_machine
from FewShotSAMLib.benchmark.few_shot import apply_model, few_shot, forget_embeddings
from FewShotSAMLib.benchmark.methods import load_packages
from FewShotSAMLib.benchmark.outcome import Outcome
from FewShotSAMLib.benchmark.plan import RowJob
from FewShotSAMLib.benchmark.protocol import Painting, paint, score
from FewShotSAMLib.benchmark.rows import Row
from FewShotSAMLib.benchmark.tasks import SEGMENT, Task, read_image_of, read_truth
from FewShotSAMLib.core.peak_memory import peak_memory_bytes, reset_peak_memory
from FewShotSAMLib.core.segmentation import Segmentation, write_segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.worker.failures import as_known_error
from FewShotSAMLib.worker.logs import write_traceback

_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"“”]+)+[/\\]")


def compute_row(job: RowJob) -> Row:
    """Return a job's row, done or failed; only a request to stop is raised. `log`: the traceback of a bug, if any."""
    row = job.describe()
    try:
        row |= {"status": "done", **_measure(job)}
    except Exception as error:  # noqa: BLE001 - whatever a method raises, the other rows have to be computed
        row |= failure(error)
    return {**row, "machine": describe_machine(), "finished": datetime.now(UTC).isoformat(timespec="seconds")}


def failure(error: Exception) -> Row:
    """Return the part of a failed row that says why."""
    if (known := as_known_error(error)) is not None:
        return {"status": "failed", "kind": known.kind, "error": without_folders(str(known))}
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return {"status": "failed", "kind": "bug", "error": without_folders(text), "log": str(write_traceback(error) or "")}


def without_folders(text: str) -> str:
    """Shorten absolute paths to their last name, as results are meant to be shared."""
    return _FOLDERS.sub("", text)


def _measure(job: RowJob) -> dict[str, Any]:
    volume, truth = _load(job.task, job.data)
    wanted = truth.mask(truth.segments[0])
    load_packages(job.method)
    if job.settings.cache is None:
        forget_embeddings()
    run, given, details = _prepare(job, volume, truth)
    _reset_peak_memory()
    started = time.perf_counter()
    outcome = run()
    seconds = time.perf_counter() - started
    memory = _peak_memory()
    outcome = outcome if isinstance(outcome, Outcome) else Outcome(outcome)
    mask = np.asarray(outcome.mask)
    if mask.shape != wanted.shape:
        raise ValueError(f"{job.method.name} returned a mask of shape {mask.shape} for a volume of {wanted.shape}")
    mask = mask.astype(bool)
    if job.segmentation is not None:
        _keep(mask, truth, job.segmentation)
    scores = vars(score(mask, wanted, job.task.axis, given, volume.geometry.spacing_kji))
    return {
        **{name: value if math.isfinite(value) else None for name, value in scores.items()},
        "seconds": round(seconds, 3),
        **memory,
        "details": _joined(details, outcome.details),
    }


def _joined(before: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
    """Merge all details and both lists of warnings, which name files."""
    texts = dict.fromkeys([*before.get("warnings", ()), *details.get("warnings", ())])
    warnings = {"warnings": [without_folders(text) for text in texts]} if texts else {}
    return {**{name: value for name, value in {**before, **details}.items() if name != "warnings"}, **warnings}


def _prepare(
    job: RowJob, volume: Volume, truth: Segmentation
) -> tuple[Callable[[], np.ndarray | Outcome], Painting, dict[str, Any]]:
    """Return the function to time, the slices of the volume that it is given, and details known so far."""
    if job.source is None:
        annotation = paint(truth, job.task.axis, job.painting)
        seen = {"given": truth.mask(truth.segments[0])} if job.method.sees_truth else {}
        return partial(job.method.run, volume, annotation, job.settings, **seen), job.painting, {}
    source = learned(job)
    note = {"learning_seconds": source.seconds, "warnings": source.warnings}
    if job.here is not None:
        annotation = paint(truth, job.task.axis, job.here)
        options = job.method.options or {}
        return partial(few_shot, volume, annotation, job.settings, [source.model], **options), job.here, note
    return partial(apply_model, volume, source.model, job.settings), Painting((), ()), note


@lru_cache(maxsize=1)
def _load(task: Task, data: Path) -> tuple[Volume, Segmentation]:
    volume = read_image_of(task, data)
    return volume, read_truth(task, data, volume.geometry)


def _keep(mask: np.ndarray, truth: Segmentation, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_segmentation(Segmentation(mask.astype(np.uint8)[np.newaxis], truth.geometry, (SEGMENT,)), path)


def _reset_peak_memory() -> None:
    reset_peak_memory()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_memory() -> dict[str, Any]:
    """Return the peak of this process's memory and, where torch uses a GPU, of its GPU memory; bytes."""
    memory: dict[str, Any] = {"peak_memory_bytes": peak_memory_bytes()}
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        memory["peak_gpu_memory_bytes"] = int(torch.cuda.max_memory_allocated())
        memory["gpu"] = torch.cuda.get_device_name()
    return memory
