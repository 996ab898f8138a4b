"""The jobs of the background process: files in, files out, around `propagation`, and what `estimates` tells."""

from collections.abc import Callable, Mapping
from typing import Any

from FewShotSAMLib.core.plausibility import check_two_files
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.engine import estimates
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.describe import describe
from FewShotSAMLib.engine.model_file import load_model
from FewShotSAMLib.engine.outputs import check_fit, check_outputs, write_outputs
from FewShotSAMLib.engine.pace import pace_of, remember
from FewShotSAMLib.engine.propagation import apply_to_volume, propagate_volume
from FewShotSAMLib.engine.request import ApplyRequest, PropagateRequest
from FewShotSAMLib.engine.warm import warm_volume
from FewShotSAMLib.sam.cache import default_folder


def propagate(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Learn from the painted slices of a volume and segment its other slices; returns the report.

    Raises FewShotSAMError, and then nothing has been written.
    """
    request = PropagateRequest.from_parameters(parameters)
    timer = StageTimer()
    check_outputs(request)
    warm_start = load_model(request.warm_start) if request.warm_start else None
    with timer.stage("read"):
        context.progress("read", 0, 1)
        volume = warm_volume(request.volume, context)
        check_fit(request, volume)
        check_two_files(request.volume, request.annotation)
        context.reading(request.annotation)
        painted = read_segmentation(request.annotation)
        context.reading(None)
    done = propagate_volume(volume, painted, request, context, timer, warm_start, request.confidence is not None)
    model = done.model() if done.model is not None and request.save_model is not None else None
    with timer.stage("write"):
        write_outputs(done.segmentation, done.prediction, model, request, context, volume.source)
    report = {"output": str(request.output), **done.report()}
    return {**report, "pace": _pace(request, report, done.asked)}


def apply(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Segment a volume with a few-shot model learned on another one; returns the report.

    Raises FewShotSAMError, and then nothing has been written.
    """
    request = ApplyRequest.from_parameters(parameters)
    timer = StageTimer()
    check_outputs(request)
    model = load_model(request.model)
    with timer.stage("read"):
        context.progress("read", 0, 1)
        volume = warm_volume(request.volume, context)
        check_fit(request, volume)
    done = apply_to_volume(model, volume, request, context, timer, request.confidence is not None)
    with timer.stage("write"):
        write_outputs(done.segmentation, done.prediction, None, request, context, volume.source)
    return {"output": str(request.output), **done.report()}


JOBS: dict[str, Callable[[Mapping[str, Any], JobContext], dict[str, Any]]] = {
    "propagate": propagate,
    "apply": apply,
    "inspect": estimates.inspect,
    "describe": describe,
    "download": estimates.download,
    "clear_cache": estimates.clear_cache,
}
"""What the background process can be asked to do."""


def _pace(request: PropagateRequest, report: Mapping[str, Any], asked: int) -> dict[str, Any] | None:
    """How fast the run was, kept for the next estimate; None where its steps were not the usual ones."""
    unusual = request.steps is not None or request.augmented_copies is not None or request.fresh_augmentation
    pace = None if unusual or request.code_faithful else pace_of(report, asked)
    if pace is not None:
        remember(pace, default_folder())
    return pace
