"""Label efficiency across volumes: a model learned on one volume segments the others of its group.

Tasks belong to a group by their entry `group`, or else by structure and modality. Each volume of a group is painted in
turn, and every slice of every other one is counted. A model is learned once and applied to all of them. Some slices of
the others can be painted as well; those are then not counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from FewShotSAMLib.benchmark.few_shot import learn
from FewShotSAMLib.benchmark.methods import Contender
from FewShotSAMLib.benchmark.outcome import MethodSettings
from FewShotSAMLib.benchmark.plan import Plan, RowJob, choose
from FewShotSAMLib.benchmark.protocol import ALL, Count, Painting, paint
from FewShotSAMLib.benchmark.tasks import Task, read_image_of, read_truth
from FewShotSAMLib.core.errors import BadInputError

if TYPE_CHECKING:
    from FewShotSAMLib.engine.model_file import FewShotModel


@dataclass(frozen=True)
class SourceModel:
    """A few-shot model, the seconds that learning it took, and the warnings issued."""

    model: FewShotModel
    seconds: float
    warnings: tuple[str, ...]


def make_plan_across(
    tasks: Sequence[Task],
    data: Path,
    methods: Sequence[Contender],
    encoders: Sequence[str],
    counts: Sequence[int],
    settings: MethodSettings,
    segmentations: Path | None = None,
    painted_here: int = 0,
) -> Plan:
    """List the rows: each pair of volumes of a group, with these numbers of painted slices and with all of them.

    painted_here: how many slices of the segmented volume are painted as well; no end is declared there, and the source
    is then not also painted on all slices.

    Raises BadInputError if there is no pair, and as `make_plan` does.
    """
    pairs = [(source, target) for source, target in permutations(tasks, 2) if _belong_together(source, target)]
    if not pairs:
        raise BadInputError(
            "No two of these tasks have the same structure on different volumes.",
            "Give them the same structure and modality in the tasks file, or the same group.",
        )
    sources = {source.name: source for source, _ in pairs}
    targets = {target.name: target for _, target in pairs}
    chosen, left_out = choose(list(sources.values()), data, counts if painted_here else (*counts, ALL))
    besides: dict[tuple[str, Count], Painting] = {}
    if painted_here:
        besides, more = choose(list(targets.values()), data, (painted_here,), ends=False)
        left_out += more
    jobs = []
    for method in methods:
        if method.options is None:
            left_out.append(f"{method.name}: it leaves no model to segment another volume with")
            continue
        if painted_here and not method.transfers:
            left_out.append(f"{method.name}: it cannot combine painted slices with a model of another volume")
            continue
        if method.within_only and not painted_here:
            left_out.append(f"{method.name}: {method.within_only}")
            continue
        for encoder in encoders:
            own = replace(settings, encoder=encoder)
            for (source, count), painting in chosen.items():
                for target in (target for each, target in pairs if each.name == source):
                    here = besides.get((target.name, painted_here))
                    if painted_here and here is None:
                        continue
                    job = RowJob(method, own, count, target, painting, data, source=sources[source], here=here)
                    jobs.append(job.kept_in(segmentations))
    return Plan(tuple(jobs), tuple(left_out))


def learned(job: RowJob) -> SourceModel:
    """Return the model of a job's source volume; the latest one is cached."""
    assert job.source is not None and job.method.options is not None
    options = tuple(job.method.options.items())
    return _learned(job.source, job.data, job.painting, job.settings, options, job.here is None)


@lru_cache(maxsize=1)
def _learned(
    source: Task,
    data: Path,
    painting: Painting,
    settings: MethodSettings,
    options: tuple[tuple[str, Any], ...],
    for_others: bool,
) -> SourceModel:
    volume = read_image_of(source, data)
    annotation = paint(read_truth(source, data, volume.geometry), source.axis, painting)
    started = time.perf_counter()
    model, report = learn(volume, annotation, settings, for_others, **dict(options))
    return SourceModel(model, round(time.perf_counter() - started, 3), tuple(report["warnings"]))


def _belong_together(source: Task, target: Task) -> bool:
    return (
        source.image != target.image and bool(source.similarity_key) and source.similarity_key == target.similarity_key
    )
