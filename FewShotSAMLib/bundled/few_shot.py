"""The few-shot method on the bundled encoder: uses exemplars and shape priors of this volume or another's exemplars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from FewShotSAMLib.bundled.conditioning import VolumeConditioning
from FewShotSAMLib.bundled.fusion import STRIDE, FusionDecoder, FusionLayers
from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.bundled.priors import Flows
from FewShotSAMLib.bundled.regional import RegionalHead, local
from FewShotSAMLib.bundled.segmentwise import SegmentwiseConditioning, conditioning_of, known_on
from FewShotSAMLib.bundled.volume_network import SCHEDULE, WARM_STEPS, TrainingSet
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.methods.head import HeadMethod
from FewShotSAMLib.methods.interface import Exemplar, ExemplarFeatures, Parts, Predictor, Schedule, Task, Training
from FewShotSAMLib.methods.tokens import FewShotSettings
from FewShotSAMLib.sam.registry import Architecture

THICKEST = 6.0
"""Largest slice distance, in pixels of the priors' grid; larger ones are capped. Otherwise distances along the axis
would outweigh all others, and the decoder saw hardly any thicker slices in its training."""

ALL_STEPS, LEAST_STEPS = 450, 120
"""Training steps where there are several regions: in total, and at least in each."""


class BundledFewShot(HeadMethod):
    """A decoder trained on episodes and kept frozen: conditioned on the painted slices, it answers at once.
    Then networks are trained on those slices, for this volume only, and their answer is combined with the decoder's."""

    settings = FewShotSettings
    any_segments = True
    transfers = True
    corrects = True
    splits = True
    slice_cost = 8.0  # encoding, priors, two passes of the decoder
    learning_cost = 3300.0  # of the networks on two cores, however many segments
    segment_share = 0.8  # the decoder runs once per segment

    def plan(self, architecture: Architecture, faithful: bool, warm: bool, steps: int | None) -> Training:
        """Return the training of the volume's networks; the decoder is not trained."""
        usual = WARM_STEPS if warm else SCHEDULE.steps
        return Training(replace(SCHEDULE, steps=usual if steps is None else steps))

    def new_head(self, parts: Parts, settings: Any) -> FusionHead:
        """Return a head with the weights that came with the encoder."""
        assert isinstance(parts.own_layers, FusionLayers)
        decoder = FusionDecoder(parts.mask_decoder, parts.prompt_encoder, parts.own_layers)
        return FusionHead(decoder, parts.class_count).eval()

    def fit(self, task: Task) -> Predictor:
        """Condition the decoder on the exemplars, in each region."""
        whole = self.start(task)
        assert isinstance(whole, FusionHead)
        regions = task.regions()
        if not regions:
            return self._conditioned(whole, task, task)
        heads = [FusionHead(whole.decoder, len(region.labels)).eval() for region in regions]
        for number, (head, region) in enumerate(zip(heads, regions, strict=True)):
            self._conditioned(head, region.task, task, (number, len(regions)))
        return RegionalHead(regions, heads, task.embeddings.framing, whole.class_count)

    def correct(self, predictor: Predictor, task: Task, changed: Mapping[int, frozenset[int]]) -> Predictor:
        """Condition the decoder on the current exemplars; leave the networks as they are."""
        if isinstance(predictor, FusionHead):
            return self._conditioned(predictor, task, task, changed=changed)
        assert isinstance(predictor, RegionalHead)
        regions = task.regions()
        heads = [
            self._conditioned(head, region.task, task, changed=local(changed, region.labels))
            for head, region in zip(predictor.heads, regions, strict=True)
        ]
        return replace(predictor, heads=heads, regions=regions)

    def _conditioned(
        self,
        head: FusionHead,
        task: Task,
        whole: Task,
        part: tuple[int, int] = (0, 1),
        changed: Mapping[int, frozenset[int]] | None = None,
    ) -> FusionHead:
        """Condition the head, or its twin for what changed, on a task's exemplars; whole: the task of all regions, of
        which this is number part[0] of part[1]."""
        unchanged = [] if changed is None else [each for each in head.exemplars if each.slice_index not in changed]
        exemplars = task.exemplars(0, head.logit_stride, unchanged)
        if changed is None:
            head.condition(_conditioning(task, exemplars, None))
        else:
            head = head.corrected(_conditioning(task, exemplars, head.flows), changed)
        slices = partial(task.embeddings.plain, side=task.embeddings.framing.size)
        given = tuple(each for each in exemplars if each.slice_index not in task.annotation.assumed)
        head.prepare(TrainingSet(given, self._schedule(head, task, part[1]), slices, part))
        head.remember(lambda: _as_another_volume_has_them(whole))
        return head

    def _schedule(self, head: FusionHead, task: Task, count: int) -> Schedule:
        warm = task.warm_start is not None and head.network is not None
        # A network learns too little from a single slice: it made five structures worse by 0.02 on average.
        steps = task.steps if len({*task.annotation.painted} - {*task.annotation.assumed}) > 1 else 0
        if steps is None and count > 1:
            steps = min(SCHEDULE.steps, max(LEAST_STEPS, ALL_STEPS // count))
        schedule = self.plan(task.architecture, False, warm, steps).on_cache
        assert schedule is not None
        return schedule


METHOD = BundledFewShot()


def _conditioning(
    task: Task, exemplars: Sequence[Exemplar], earlier: Flows | None
) -> VolumeConditioning | SegmentwiseConditioning:
    """Combine the exemplars, in their order, with priors of the task's volume; earlier: flows found before, if any."""
    shown = ExemplarFeatures(
        torch.stack([exemplar.embedding for exemplar in exemplars]),
        torch.stack([exemplar.target[1:] for exemplar in exemplars]),
        known_on([exemplar.unknown for exemplar in exemplars], len(task.annotation.segmentation.segments)),
    )
    step = min(THICKEST, task.step_mm / (task.embeddings.framing.pixel_mm * STRIDE))
    known = tuple(exemplar.slice_index for exemplar in exemplars)
    flows = Flows(partial(task.embeddings.plain, side=task.embeddings.framing.size // STRIDE), earlier)
    annotation = task.annotation
    return conditioning_of(flows, task.depth, known, shown, step, _declared(annotation), annotation.assumed)


def _as_another_volume_has_them(task: Task) -> ExemplarFeatures:
    """Return the exemplars as framed by the body box, which is all that can be found in another volume, too."""
    annotation = task.annotation
    own = [index for index in annotation.exemplars if index not in annotation.assumed]
    with task.whole_body() as embeddings:
        embeddings.ensure(own)
        features = embeddings.slices(own)
        maps = [np.ascontiguousarray(embeddings.framing.cut(annotation.classes(index))) for index in own]
        count = len(annotation.segmentation.segments)
        masks = [embeddings.framing.target(classes, count, STRIDE)[0][1:] for classes in maps]
    known = known_on([annotation.unknown(index) for index in own], count)
    return ExemplarFeatures(features, torch.stack(masks).half(), known)


def _declared(annotation: Annotation) -> torch.Tensor | None:
    """Return (n, C) which segments each exemplar was declared to lack; None where only whole slices were declared."""
    if not annotation.absent:
        return None
    return torch.tensor(
        [[i in annotation.empty or i in each for each in annotation.absent] for i in annotation.exemplars]
    )
