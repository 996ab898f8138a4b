"""The rows that a benchmark consists of: each method (and encoder) on each task with each number of painted slices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from FewShotSAMLib import __version__
from FewShotSAMLib.benchmark.baselines import no_prompts
from FewShotSAMLib.benchmark.methods import Contender
from FewShotSAMLib.benchmark.outcome import MethodSettings
from FewShotSAMLib.benchmark.protocol import Count, Painting, choose_slices
from FewShotSAMLib.benchmark.tasks import Task, read_image_of, read_truth
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.sam.registry import get_spec


@dataclass(frozen=True)
class RowJob:
    """One row to compute. segmentation: where to store the result; None: nowhere.

    source: the task whose volume `painting` belongs to, if it is not the task's own; here: which slices of the task's
    volume are painted as well.
    """

    method: Contender
    settings: MethodSettings
    k: Count
    task: Task
    painting: Painting
    data: Path
    segmentation: Path | None = None
    source: Task | None = None
    here: Painting | None = None

    def kept_in(self, segmentations: Path | None) -> RowJob:
        """Return the same job with its result stored below this folder; None: nowhere."""
        if segmentations is None:
            return self
        encoder, here = self.settings.encoder, f"-and-{len(self.here.painted)}" if self.here else ""
        method = segmentations / (f"{self.method.name}-{encoder}" if encoder else self.method.name)
        folder = method / (f"across-k{self.k}{here}" if self.source else f"k{self.k}")
        names = [self.source.name, self.task.name] if self.source else [self.task.name]
        return replace(self, segmentation=folder / f"{'-to-'.join(map(_file_name, names))}.seg.nrrd")

    @property
    def key(self) -> str:
        """A hash of everything that distinguishes this row from others: method, encoder and its weights, k, task, the
        content of its files, settings, version."""
        encoder = self.settings.encoder
        parts = {
            "method": self.method.name,
            "encoder": asdict(get_spec(encoder)) if encoder else None,
            "k": self.k,
            "task": _identity(self.task, self.data),
            "slices": asdict(self.painting),
            "settings": self.settings.to_json(),
            "version": __version__,
            **({"source": _identity(self.source, self.data)} if self.source else {}),
            **({"here": asdict(self.here)} if self.here else {}),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Return the part of the row that is known before it is computed."""
        return {
            "key": self.key,
            "method": self.method.name,
            "title": self.method.title,
            "encoder": self.settings.encoder,
            "k": self.k,
            "task": self.task.name,
            "source": self.source.name if self.source else None,
            "group": ", ".join(filter(None, self.task.similarity_key)),
            "modality": self.task.modality,
            "structure": self.task.structure,
            "axis": self.task.axis,
            "painted": list(self.painting.painted),
            "empty": list(self.painting.empty),
            "painted_here": list(self.here.painted) if self.here else [],
            "settings": self.settings.to_json(),
            "version": __version__,
        }


@dataclass(frozen=True)
class Plan:
    """All rows, grouped by method and encoder; `left_out`: what has no row, and why."""

    jobs: tuple[RowJob, ...]
    left_out: tuple[str, ...] = ()


def make_plan(
    tasks: Sequence[Task],
    data: Path,
    methods: Sequence[Contender],
    encoders: Sequence[str],
    counts: Sequence[int],
    settings: MethodSettings,
    segmentations: Path | None = None,
    ends: bool = True,
) -> Plan:
    """Choose the slices, once for all methods, and list the rows. ends: declare the slice beyond each end empty.

    Raises BadInputError if an image or its labels cannot be read, do not match, or hold none of the values.
    """
    chosen, left_out = choose(tasks, data, counts, ends)
    jobs = []
    for method in methods:
        for encoder in encoders if method.needs_encoder else (None,):
            if method.needs_prompts and encoder and (reason := no_prompts(encoder)):
                left_out.append(f"{method.name} on {encoder}: {reason.rstrip('.')}")
                continue
            own = replace(settings, encoder=encoder)
            for task in tasks:
                for count in counts:
                    if painting := chosen.get((task.name, count)):
                        jobs.append(RowJob(method, own, count, task, painting, data).kept_in(segmentations))
    return Plan(tuple(jobs), tuple(left_out))


def choose(
    tasks: Sequence[Task], data: Path, counts: Sequence[Count], ends: bool = True
) -> tuple[dict[tuple[str, Count], Painting], list[str]]:
    """Return the slices to paint, by the task's name and their number, and what had to be left out.

    Raises BadInputError as `make_plan` does.
    """
    chosen: dict[tuple[str, Count], Painting] = {}
    left_out = []
    grids: dict[str, Geometry] = {}
    for task in tasks:
        if task.image not in grids:
            grids[task.image] = read_image_of(task, data).geometry
        truth = read_truth(task, data, grids[task.image])
        mask = truth.mask(truth.segments[0])
        for count in counts:
            painting = choose_slices(mask, task.axis, count, ends)
            if painting is None:
                left_out.append(f"{task.name} with k = {count}: all slices of the structure would be painted")
            else:
                chosen[task.name, count] = painting
    return chosen, left_out


def _identity(task: Task, data: Path) -> dict[str, Any]:
    """Return what can change a task's rows: the content of its files counts, its group and its files' paths do not."""
    named = {name: value for name, value in asdict(task).items() if name not in ("group", "image", "labels")}
    return {**named, "content": [content_hash(data / name) for name in (task.image, task.labels)]}


@cache
def content_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, or of all files of a folder; each is read once per process."""
    digest = hashlib.sha256()
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        if each.is_file():
            digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.hexdigest()


def _file_name(name: str) -> str:
    """Replace characters that are not allowed in file names."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
