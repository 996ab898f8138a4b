"""Prepares what the bundled model's decoder is told: shape priors and exemplars of this volume, or of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from FewShotSAMLib.bundled.conditioning import ForeignGuide, Guide, Shown
from FewShotSAMLib.bundled.fusion import STRIDE
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.exemplars import Exemplar
from FewShotSAMLib.engine.fine_tune import Schedule, fine_tune
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.run import Run
from FewShotSAMLib.methods.head import Head

THICKEST = 6.0
"""Pixels of the priors' grid that slices count as apart at most. Beyond that, distances along the axis would drown all
others, and the decoder has hardly seen thicker slices in its training."""
FOREIGN_SCHEDULE = Schedule(steps=160, learning_rate=1e-3)
FOREIGN_SEED = 0


def make_guide(run: Run, exemplars: Sequence[Exemplar], embeddings: SliceEmbeddings) -> Guide:
    """Exemplars and priors of the run's volume."""
    ordered = sorted(exemplars, key=lambda exemplar: exemplar.slice_index)
    shown = Shown(
        torch.stack([exemplar.embedding for exemplar in ordered]),
        torch.stack([exemplar.target[1:] for exemplar in ordered]),
    )
    framing = embeddings.framing
    depth = run.volume.geometry.shape[run.axis]
    slices = []
    for index in range(depth):
        run.context.progress("priors", index, depth)
        slices.append(embeddings.plain([index], framing.size // STRIDE))
    step = min(THICKEST, run.volume.geometry.spacing_kji[run.axis] / (framing.pixel_mm * STRIDE))
    guide = Guide(torch.cat(slices), tuple(exemplar.slice_index for exemplar in ordered), shown, step)
    run.context.progress("priors", depth, depth)
    return guide


def with_exemplars(model: FewShotModel, run: Run, annotation: Annotation) -> FewShotModel:
    """The model with its exemplars as they look in the body box, which is what another volume has to offer."""
    if not run.encoder.spec.looks_closely:
        return model
    with run.embeddings() as embeddings:
        embeddings.ensure(annotation.exemplars)
        features = embeddings.slices(annotation.exemplars)
        maps = [np.ascontiguousarray(embeddings.framing.cut(annotation.classes(i))) for i in annotation.exemplars]
        masks = [embeddings.framing.target(classes, len(model.segments), STRIDE)[0][1:] for classes in maps]
    return replace(model, shown=Shown(features, torch.stack(masks).half()))


def lead(head: Head, model: FewShotModel, source: object, context: JobContext) -> None:
    """Let a head that needs a guide follow the model's exemplars, and learn to do so without shape priors.

    Between slices of one volume priors carry most of the answer; another volume has none, so that the decoder has to
    learn what the structure looks like. It learns that once for all volumes that the process gets; `source` changes
    with the model's file. Raises BadInputError where the model lacks its exemplars.
    """
    if not isinstance(head, FusionHead):
        return
    if model.shown is None:
        raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it anew.")
    head.follow(ForeignGuide(model.shown))
    kept = context.state.get("led")
    if kept is not None and kept[0] == source:
        head.load_state_dict(kept[1])
    else:
        fine_tune(head, _exemplars_of(model.shown), FOREIGN_SCHEDULE, FOREIGN_SEED, context)
        context.state["led"] = (source, head.state_dict())
    head.follow(ForeignGuide(model.shown))


def _exemplars_of(shown: Shown) -> list[Exemplar]:
    masks = shown.masks.float()
    targets = torch.cat([(1 - masks.sum(1, keepdim=True)).clamp_min(0), masks], dim=1)
    weight, cells = torch.ones(masks.shape[-2:]), torch.empty(0)
    pairs = zip(shown.features, targets, strict=True)
    return [Exemplar(number, 0, features, target, weight, cells) for number, (features, target) in enumerate(pairs)]
