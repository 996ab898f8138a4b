"""A correction: only what one more painted slice can change is predicted again; all other slices stay identical.

The background process keeps what it needs of its last run in memory. If there was no such run, or if anything else
changed (the volume, a setting, the segments), there is no correction and the whole volume is predicted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.geometry import sparse_copy
from FewShotSAMLib.core.intensity import Normalisation
from FewShotSAMLib.core.region import Box, Region, region_box, regions
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.learning import Learned
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.request import PropagateOptions
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.engine.warm import LAST_RUN
from FewShotSAMLib.methods.registry import get_method


@dataclass(frozen=True)
class LastRun:
    """The last run on a volume. like: everything that must be equal for a correction; crop: the region that was shown;
    parts: the regions of segments that have one of their own; asked: the normalisation that the user requested;
    prediction: the decoder's output; result: the same after post-processing, if any; model: returns what was learned,
    corrections included."""

    like: tuple[Any, ...]
    annotation: Annotation
    crop: Box
    parts: tuple[Region, ...]
    asked: str | None
    learned: Learned
    prediction: Prediction
    result: Prediction
    model: Callable[[], FewShotModel]


@dataclass(frozen=True)
class Correction:
    """last_run: the run it continues; changed: for each slice to predict again, the segments 1 to C to search for."""

    last_run: LastRun
    changed: Mapping[int, frozenset[int]]


def likeness(run: VolumeRun, options: PropagateOptions, annotation: Annotation) -> tuple[Any, ...]:
    """Everything that must be equal in two runs for a correction."""
    plain = replace(options, empty_slices=(), empty_of={}, painted_slices=None, correct=False)
    own = [getattr(plain, each.name) for each in fields(PropagateOptions)]
    where = (run.volume.content_hash, run.axis, run.encoder.cache_key, run.window)
    # Names, colours and tags may change from run to run: Slicer stores its segmentation status in a tag.
    return (*where, tuple(segment.id for segment in annotation.segmentation.segments), *own)


def correction_of(run: VolumeRun, options: PropagateOptions, annotation: Annotation) -> Correction | None:
    """What to predict again, given the last run of this process; None if the whole volume must be predicted."""
    kept = last_run(run.context)
    if not options.correct or kept is None or kept.like != likeness(run, options, annotation):
        return None
    if region_box(annotation, run.plane, kept.crop) != kept.crop:
        return None
    if kept.parts and regions(annotation, run.plane, run.encoder.image_size, kept.parts) != kept.parts:
        return None
    depth, differing = run.volume.geometry.shape[run.axis], _differing(kept.annotation, annotation)
    changed: dict[int, set[int]] = {}
    for label, differs in enumerate(differing, start=1):
        for index in _affected(annotation.known[label - 1], differs, depth):
            sought = changed.setdefault(index, set())
            if index not in annotation.known[label - 1]:
                sought.add(label)
    return Correction(kept, {index: frozenset(found) for index, found in changed.items()})


def kept_normalisation(volume: Volume, options: PropagateOptions, context: JobContext) -> Normalisation | None:
    """The normalisation of the last run, if that used the same volume and the same normalisation option: otherwise a
    window chosen from the painted slices would change with each of them."""
    kept = last_run(context)
    if not options.correct or kept is None or kept.asked != options.normalisation:
        return None
    run = kept.learned.task.run
    return run.normalisation if run.volume.content_hash == volume.content_hash else None


def keep(run: VolumeRun, options: PropagateOptions, kept: LastRun) -> None:
    """Remember a completed run if its method supports corrections."""
    forget(run.context)
    if get_method(options.method).load().for_encoder(run.encoder.spec.architecture).corrects:
        run.context.state[LAST_RUN] = kept


def last_run(context: JobContext) -> LastRun | None:
    """The run that can be corrected; None if there is none."""
    return context.state.get(LAST_RUN)


def forget(context: JobContext) -> None:
    """Release the last run and its memory."""
    context.state.pop(LAST_RUN, None)


def without_slices(prediction: Prediction, axis: int, indices: Collection[int]) -> Prediction:
    """A copy with these slices cleared."""
    classes = sparse_copy(prediction.classes)
    confidence = None if prediction.confidence is None else prediction.confidence.copy()
    for volume in (classes,) if confidence is None else (classes, confidence):
        np.moveaxis(volume, axis, 0)[list(indices)] = 0
    slices = {index: found for index, found in prediction.slices.items() if index not in indices}
    return Prediction(classes, confidence, slices)


def replaced_on(result: Prediction, refined: Prediction, axis: int, indices: Collection[int]) -> Prediction:
    """`refined` on these slices, `result` on all others."""
    classes = sparse_copy(result.classes)
    np.moveaxis(classes, axis, 0)[list(indices)] = np.moveaxis(refined.classes, axis, 0)[list(indices)]
    return replace(refined, classes=classes)


def _affected(known: Sequence[int], differs: Collection[int], depth: int) -> set[int]:
    """The slices that differ, and those from there to the nearest unchanged slices where the segment is known."""
    fixed = [index for index in known if index not in differs]
    found: set[int] = set()
    for index in differs:
        place = bisect_left(fixed, index)
        first = fixed[place - 1] + 1 if place else 0
        found |= {*range(first, fixed[place] if place < len(fixed) else depth)}
    return found


def _differing(old: Annotation, new: Annotation) -> list[set[int]]:
    """For each segment, the slices on which what is known of it changed: its shape, or the pixels that others take."""
    differs: list[set[int]] = [set() for _ in new.segmentation.segments]
    for index in {*old.exemplars, *new.exemplars}:
        before, now = (each.classes(index) for each in (old, new))
        for label, found in enumerate(differs, start=1):
            is_known, was_known = (index in each.known[label - 1] for each in (new, old))
            is_same_status = is_known == was_known and _declared(old, label, index) == _declared(new, label, index)
            shapes = (before == label, now == label) if is_known else (before > 0, now > 0)
            # Where segments overlap, only their own masks show which of them do.
            own = (old.mask(label, index), new.mask(label, index))
            if not (is_same_status and np.array_equal(*shapes) and (np.array_equal(*own) or not is_known)):
                found.add(index)
    return differs


def _declared(annotation: Annotation, label: int, index: int) -> bool:
    absent = annotation.absent[label - 1] if annotation.absent else ()
    return index in annotation.empty or index in absent
