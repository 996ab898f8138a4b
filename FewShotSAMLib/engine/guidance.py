"""Prepares what the bundled model's decoder is told: shape priors and exemplars of this volume, or of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.exemplars import Exemplar
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.run import Run
from FewShotSAMLib.methods.fusion_head import FusionHead
from FewShotSAMLib.methods.guide import ForeignGuide, Guide, Shown
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.sam.fusion import STRIDE


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
    step = run.volume.geometry.spacing_kji[run.axis] / (framing.pixel_mm * STRIDE)
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


def lead(head: Head, model: FewShotModel) -> None:
    """Let a head that needs a guide follow the model's exemplars. Raises BadInputError where the model lacks them."""
    if not isinstance(head, FusionHead):
        return
    if model.shown is None:
        raise BadInputError("The few-shot model is incomplete or damaged.", "Learn it anew.")
    head.follow(ForeignGuide(model.shown))
