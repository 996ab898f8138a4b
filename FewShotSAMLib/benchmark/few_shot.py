"""FewShotSAM itself, run as the background process would run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from FewShotSAMLib.benchmark.outcome import MethodSettings, Outcome
from FewShotSAMLib.bundled.components import omitting
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.volume import Volume

if TYPE_CHECKING:
    from FewShotSAMLib.engine.model_file import FewShotModel
    from FewShotSAMLib.engine.propagation import Segmented

STATE: dict[str, Any] = {}
"""Keeps the encoder warm from one row to the next, as the background process does."""


def forget_embeddings() -> None:
    """Release the embeddings that earlier rows left in memory, so that the next row encodes its slices itself."""
    if STATE:  # otherwise the engine was not even loaded
        from FewShotSAMLib.engine.embeddings import forget

        forget(STATE)


def few_shot(
    volume: Volume,
    annotation: Annotation,
    settings: MethodSettings,
    models: Sequence[FewShotModel] = (),
    **options: Any,
) -> Outcome:
    """Run `fewshotsam propagate` with its defaults except for `options` (job parameters); models: of other volumes."""
    return _outcome(_propagate(volume, annotation, settings, options, models))


def few_shot_without(
    component: str, volume: Volume, annotation: Annotation, settings: MethodSettings, **options: Any
) -> Outcome:
    """Run the same without one of `bundled.components.COMPONENTS`."""
    with omitting(component):
        return few_shot(volume, annotation, settings, **options)


def learn(
    volume: Volume, annotation: Annotation, settings: MethodSettings, for_others: bool = True, **options: Any
) -> tuple[FewShotModel, Mapping[str, Any]]:
    """Run `fewshotsam propagate --save-model`; return the few-shot model and the report. for_others: with what the
    model needs for a dissimilar volume on which nothing is painted."""
    done = _propagate(volume, annotation, settings, options)
    assert done.model is not None
    from FewShotSAMLib.engine import learning
    from FewShotSAMLib.engine.context import JobContext
    from FewShotSAMLib.engine.model_file import model_bytes, parse_model

    model = learning.ready_for_transfer(done.model(), done.run.encoder, JobContext()) if for_others else done.model()
    return parse_model(model_bytes(model)), done.report()  # as stored in a file, so that the volume is released


def apply_model(volume: Volume, model: FewShotModel, settings: MethodSettings) -> Outcome:
    """Run `fewshotsam apply`."""
    from FewShotSAMLib.engine.context import JobContext, StageTimer
    from FewShotSAMLib.engine.propagation import apply_to_volume
    from FewShotSAMLib.engine.request import ApplyOptions

    options = ApplyOptions.from_parameters(_common(settings))
    return _outcome(apply_to_volume(model, volume, options, JobContext(state=STATE), StageTimer(), False))


def _propagate(
    volume: Volume,
    annotation: Annotation,
    settings: MethodSettings,
    options: Mapping[str, Any],
    models: Sequence[FewShotModel] = (),
) -> Segmented:
    from FewShotSAMLib.engine.context import JobContext, StageTimer
    from FewShotSAMLib.engine.earlier import Earlier
    from FewShotSAMLib.engine.propagation import propagate_volume
    from FewShotSAMLib.engine.request import PropagateOptions

    own = {"axis": annotation.axis, "empty_slices": list(annotation.empty), "seed": settings.seed}
    request = PropagateOptions.from_parameters({**own, **_common(settings), **options})
    context = JobContext(state=STATE)
    earlier = [Earlier(f"{number}", model) for number, model in enumerate(models, start=1)]
    return propagate_volume(volume, annotation.segmentation, request, context, StageTimer(), None, False, earlier)


def _common(settings: MethodSettings) -> dict[str, Any]:
    """Parameters that both jobs have."""
    return {
        "encoder": settings.encoder,
        "device": settings.device,
        "precision": settings.precision,
        **({"no_cache": True} if settings.cache is None else {"cache": str(settings.cache)}),
    }


def _outcome(done: Segmented) -> Outcome:
    report, result = done.report(), done.segmentation
    encoder = report["encoder"]
    details = {
        "stages": report["seconds"],
        "slices_encoded": encoder["slices_encoded"],
        "device": encoder["device"],
        "precision": encoder["precision"],
        "weights": encoder["weights_hash"],
        "warnings": report["warnings"],
        **({"models": report["training"]["models"]} if "models" in report["training"] else {}),
    }
    return Outcome(result.mask(result.segments[0]), details)
