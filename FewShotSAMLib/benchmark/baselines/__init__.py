"""The learned baselines, given the same input as FewShotSAM's own methods: normalisation, framing and embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from FewShotSAMLib.benchmark.few_shot import STATE
from FewShotSAMLib.benchmark.outcome import MethodSettings, Outcome
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.intensity import IntensityWindow, parse_normalisation
from FewShotSAMLib.core.painting import slices_of
from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.core.region import region_box
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.sam.registry import get_spec

if TYPE_CHECKING:
    from FewShotSAMLib.engine.embeddings import SliceEmbeddings
    from FewShotSAMLib.engine.volume_run import VolumeRun


def sam(
    volume: Volume,
    annotation: Annotation,
    settings: MethodSettings,
    points: int = 0,
    box: bool = False,
    given: np.ndarray | None = None,
) -> Outcome:
    """Run SAM as it is, prompted by shapes interpolated between painted slices, or by the mask `given` (K, J, I).

    Raises BadInputError for an encoder whose decoder was not trained to answer prompts.
    """
    from FewShotSAMLib.benchmark.baselines.zero_shot import Prompt, ZeroShotSam

    if reason := no_prompts(settings.encoder or ""):
        raise BadInputError(reason, "Choose one of SAM's own encoders with --encoders, for example vit_b.")
    if given is None:
        asked = list(range(annotation.exemplars[0], annotation.exemplars[-1] + 1))  # beyond, there is no prompt
    else:
        asked = slices_of(given, annotation.axis).tolist()
    with _encoded(volume, annotation, settings) as (run, embeddings):
        embeddings.ensure(asked)
        decoder, prompt_encoder = run.encoder.sam_parts()
        device, prompt = run.encoder.device, Prompt(points, box)
        parts = decoder.to(device), prompt_encoder.to(device)
        shapes = None if given is None else given.astype(np.uint8)
        baseline = ZeroShotSam(embeddings, *parts, prompt, shapes)
        classes = baseline(_grey(volume, run.window), _painted(annotation), annotation.axis)
        return Outcome(classes == 1, _details(run))


def no_prompts(encoder: str) -> str:
    """Return why SAM cannot be prompted with points and boxes on this encoder; "" if it can."""
    fit = get_spec(encoder).architecture.answers_prompts
    return "" if fit else f"The encoder {encoder} comes with a decoder that was not trained with points or boxes."


def u_net(volume: Volume, annotation: Annotation, settings: MethodSettings, **options: Any) -> Outcome:
    """Train a U-Net from scratch on the region around what is painted, which suits it better than whole slices.

    options: of `UNetSettings`.
    """
    from FewShotSAMLib.benchmark.baselines.unet import UNetFromScratch, UNetSettings
    from FewShotSAMLib.sam.framing import Framing
    from FewShotSAMLib.sam.precision import pick_device

    plane = slice_plane(volume.geometry, annotation.axis)
    framing = Framing(plane, region_box(annotation, plane), 0)  # only its crop is used
    grey = _grey(volume, parse_normalisation("auto", volume).resolve(volume))
    slices = np.stack([framing.cut(one) for one in np.moveaxis(grey, annotation.axis, 0)])
    painted = {index: np.ascontiguousarray(framing.cut(known)) for index, known in _painted(annotation).items()}
    device = str(pick_device(settings.device))
    unet_settings = replace(UNetSettings(seed=settings.seed), **options)
    found = UNetFromScratch(unet_settings, device, spacing=plane.spacing)(slices, painted, 0)
    mask = np.zeros(volume.geometry.shape, bool)
    for whole, cut in zip(np.moveaxis(mask, annotation.axis, 0), found, strict=True):
        framing.cut(whole)[...] = cut == 1
    return Outcome(_possible(mask, annotation), {"device": device})


@contextmanager
def _encoded(
    volume: Volume, annotation: Annotation, settings: MethodSettings
) -> Iterator[tuple[VolumeRun, SliceEmbeddings]]:
    """Yield the engine's run and its embeddings, taken from the cache if another method left them there."""
    from FewShotSAMLib.engine.context import JobContext, StageTimer
    from FewShotSAMLib.engine.request import ComputeOptions
    from FewShotSAMLib.engine.volume_run import VolumeRun
    from FewShotSAMLib.engine.warm import warm_encoder

    compute = ComputeOptions(
        encoder=settings.encoder or "auto",
        device=settings.device,
        precision=settings.precision,
        cache=settings.cache,
        no_cache=settings.cache is None,
    )
    context = JobContext(state=STATE)
    encoder = warm_encoder(compute, context)
    normalisation = parse_normalisation("auto", volume)
    run = VolumeRun(volume, annotation.axis, normalisation, encoder, compute, context, StageTimer())
    with run.embeddings(annotation) as embeddings:
        yield run, embeddings


def _possible(mask: np.ndarray, annotation: Annotation) -> np.ndarray:
    """Clear the mask on slices that the painted slices rule out, as for FewShotSAM's own methods."""
    for index, one in enumerate(np.moveaxis(mask, annotation.axis, 0)):
        if annotation.ruled_out(index):
            one[...] = False
    return mask


def _painted(annotation: Annotation) -> dict[int, np.ndarray]:
    return {index: annotation.classes(index) for index in annotation.exemplars}


def _grey(volume: Volume, window: IntensityWindow) -> np.ndarray:
    """Return (K, J, I) float32 in 0..1, filled slice by slice."""
    grey = np.empty(volume.geometry.shape, np.float32)
    for target, one in zip(grey, volume.voxels, strict=True):
        scaled = window.apply(one)
        target[...] = scaled.mean(axis=2) if volume.is_rgb else scaled
    return grey


def _details(run: VolumeRun) -> dict[str, Any]:
    return {
        "slices_encoded": run.encoder.slices_encoded - run.encoded_before,
        "device": str(run.encoder.device),
        "precision": run.encoder.precision,
        "weights": run.encoder.weights_hash,
        "warnings": list(run.context.warnings),
    }
