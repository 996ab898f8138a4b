"""The few-shot method on the bundled encoder: exemplars and shape priors of this volume, or exemplars of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from FewShotSAMLib.bundled.conditioning import VolumeConditioning
from FewShotSAMLib.bundled.fusion import STRIDE, FusionDecoder, FusionLayers
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.methods.head import HeadMethod
from FewShotSAMLib.methods.interface import Exemplar, ExemplarFeatures, Parts, Predictor, Schedule, Task, Training
from FewShotSAMLib.methods.tokens import FewShotSettings
from FewShotSAMLib.sam.registry import Architecture

THICKEST = 6.0
"""Pixels of the priors' grid that slices count as apart at most. Beyond that, distances along the axis would drown all
others, and the decoder has hardly seen thicker slices in its training."""
STEPS = 12
WARM_STEPS = 3
LEARNING_RATE = 5e-5


class BundledFewShot(HeadMethod):
    """The decoder was trained on episodes: it needs few steps, no augmented copies, and at least two painted slices."""

    settings = FewShotSettings
    any_segments = True
    slice_cost = 8.0  # encoding, priors, two passes of the decoder

    def plan(self, architecture: Architecture, faithful: bool, warm: bool, steps: int | None) -> Training:
        """A few steps on the cache."""
        usual = WARM_STEPS if warm else STEPS
        return Training(Schedule(usual if steps is None else steps, learning_rate=LEARNING_RATE))

    def new_head(self, parts: Parts, settings: Any) -> FusionHead:
        """With the weights that came with the encoder."""
        assert isinstance(parts.own_layers, FusionLayers)
        decoder = FusionDecoder(parts.mask_decoder, parts.prompt_encoder, parts.own_layers)
        return FusionHead(decoder, parts.class_count).eval()

    def fit(self, task: Task) -> Predictor:
        """Condition the decoder on the exemplars and fine-tune it on those that are painted."""
        head = self.start(task)
        assert isinstance(head, FusionHead)
        exemplars = task.exemplars(0, head.logit_stride)
        with task.stage("priors"):
            head.condition(_conditioning(task, exemplars))
        painted = [exemplar for exemplar in exemplars if exemplar.slice_index in task.annotation.painted]
        warm = task.warm_start is not None
        steps = task.steps if len(painted) > 1 else 0
        task.train(head, painted, self.plan(task.architecture, False, warm, steps))
        head.remember(lambda: _as_another_volume_has_them(task))
        return head


METHOD = BundledFewShot()


def _conditioning(task: Task, exemplars: Sequence[Exemplar]) -> VolumeConditioning:
    """Exemplars and priors of the task's volume."""
    ordered = sorted(exemplars, key=lambda exemplar: exemplar.slice_index)
    shown = ExemplarFeatures(
        torch.stack([exemplar.embedding for exemplar in ordered]),
        torch.stack([exemplar.target[1:] for exemplar in ordered]),
    )
    framing = task.embeddings.framing
    slices = []
    for index in range(task.depth):
        task.progress("priors", index, task.depth)
        slices.append(task.embeddings.plain([index], framing.size // STRIDE))
    step = min(THICKEST, task.step_mm / (framing.pixel_mm * STRIDE))
    known = tuple(exemplar.slice_index for exemplar in ordered)
    conditioning = VolumeConditioning(torch.cat(slices), known, shown, step)
    task.progress("priors", task.depth, task.depth)
    return conditioning


def _as_another_volume_has_them(task: Task) -> ExemplarFeatures:
    """The exemplars as they look in the body box, which is what another volume has to offer."""
    annotation = task.annotation
    with task.whole_body() as embeddings:
        embeddings.ensure(annotation.exemplars)
        features = embeddings.slices(annotation.exemplars)
        maps = [np.ascontiguousarray(embeddings.framing.cut(annotation.classes(i))) for i in annotation.exemplars]
        count = len(annotation.segmentation.segments)
        masks = [embeddings.framing.target(classes, count, STRIDE)[0][1:] for classes in maps]
    return ExemplarFeatures(features, torch.stack(masks).half())
