"""The jobs of the background process: files in, files out, around `propagation`; and those of `estimates`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError, FewShotSAMError
from FewShotSAMLib.core.files import check_name
from FewShotSAMLib.core.plausibility import check_two_files
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.engine import estimates
from FewShotSAMLib.engine.context import JobContext, StageTimer
from FewShotSAMLib.engine.corrections import last_run
from FewShotSAMLib.engine.describe import describe
from FewShotSAMLib.engine.earlier import Earlier
from FewShotSAMLib.engine.learning import completed, ready_for_transfer
from FewShotSAMLib.engine.model_file import FewShotModel, load_model, save_model
from FewShotSAMLib.engine.outputs import check_fit, check_outputs, write_outputs
from FewShotSAMLib.engine.pace import pace_of, remember
from FewShotSAMLib.engine.propagation import Segmented, apply_to_volume, propagate_volume
from FewShotSAMLib.engine.record import further_files
from FewShotSAMLib.engine.request import ApplyOptions, ApplyRequest, PropagateRequest
from FewShotSAMLib.engine.warm import warm_volume
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.sam.cache import default_folder


def propagate(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Learn from the painted slices of a volume and segment its other slices; returns the report. Raises
    FewShotSAMError; then nothing has been written but a contact sheet, which its message names."""
    request = PropagateRequest.from_parameters(parameters)
    timer = StageTimer()
    check_outputs(request)
    warm_start = load_model(request.warm_start) if request.warm_start else None
    earlier = [Earlier(path.stem, load_model(path)) for path in request.models]
    with timer.stage("read"):
        context.progress("read", 0, 1)
        volume = warm_volume(request.volume, context)
        check_fit(request, volume)
        check_two_files(request.volume, request.annotation)
        context.reading(request.annotation)
        painted = read_segmentation(request.annotation)
        context.reading(None)
    with _naming_written_outputs(context):
        wanted = request.confidence is not None
        done = propagate_volume(volume, painted, request, context, timer, warm_start, wanted, earlier)
        # A correction does not make a model yet: the job `save_model` does, if one is wanted.
        is_saved = request.save_model is not None and done.corrected is None
        model = done.model() if done.model is not None and is_saved else None
        if model is not None and not request.model_as_is:
            with timer.stage("adapt"):
                model = ready_for_transfer(model, done.run.encoder, context)
        report = _write_all(request, done, model)
    if report["pace"] is not None:
        remember(report["pace"], default_folder())
    return report


def apply(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Segment a volume with a few-shot model learned on another one; returns the report. Raises FewShotSAMError, in
    which case nothing has been written."""
    request = ApplyRequest.from_parameters(parameters)
    timer = StageTimer()
    check_outputs(request)
    model = load_model(request.model)
    with timer.stage("read"):
        context.progress("read", 0, 1)
        volume = warm_volume(request.volume, context)
        check_fit(request, volume)
    done = apply_to_volume(model, volume, request, context, timer, request.confidence is not None)
    return _write_all(request, done, None)


def save_last_model(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Write what the last propagation of this process learned, including corrections, to the file `path`;
    `model_as_is`: without learning what only other volumes need. Raises BadInputError if there was no propagation."""
    kept, path = last_run(context), parameters.get("path")
    if kept is None:
        raise BadInputError("The background process has no learned model in memory.", "Propagate again.")
    if not isinstance(path, str) or not path:
        raise BadInputError(f"path is {path!r}.", "It must be the name of a file.")
    check_name(Path(path))
    model = kept.model()
    if not parameters.get("model_as_is"):
        model = ready_for_transfer(model, kept.learned.task.run.encoder, context)
    save_model(model, Path(path))
    return {"path": path}


def complete_model(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Add to the model file `model` what other volumes than its own need, if that is missing. The other parameters are
    the compute options of `apply`. The file stays unchanged until the new one is complete."""
    rest = dict(parameters)
    path, compute = rest.pop("model", None), ApplyOptions.from_parameters(rest).compute
    if not isinstance(path, str) or not path:
        raise BadInputError(f"model is {path!r}.", "It must be the name of a file.")
    model = load_model(Path(path))
    complete = completed(model, compute, context)
    if complete is not model and Path(path).is_file():  # else it was renamed in the meantime
        save_model(complete, Path(path))
    return {"path": path}


JOBS: dict[str, Callable[[Mapping[str, Any], JobContext], dict[str, Any]]] = {
    "propagate": propagate,
    "apply": apply,
    "inspect": estimates.inspect,
    "describe": describe,
    "download": estimates.download,
    "clear_cache": estimates.clear_cache,
    "save_model": save_last_model,
    "complete_model": complete_model,
}
"""All jobs, by the name in a request to the background process."""


@contextmanager
def _naming_written_outputs(context: JobContext) -> Iterator[None]:
    """Make errors mention the outputs that were written before the others."""
    try:
        yield
    except FewShotSAMError as error:
        if not context.written:
            raise
        message = f"{error.message} Already written: {', '.join(map(str, context.written))}."
        raise type(error)(message, error.hint) from error


def _write_all(request: PropagateRequest | ApplyRequest, done: Segmented, model: FewShotModel | None) -> dict[str, Any]:
    """Write all outputs together and return the report, which is one of them if requested."""
    timer, context = done.run.timer, done.run.context
    begun = timer.total()
    further, shown = further_files(request, done)

    def report() -> dict[str, Any]:
        timer.seconds["write"] = round(timer.total() - begun, 3)
        content = {"output": request.output and str(request.output), **done.report(), **shown}
        if isinstance(request, PropagateRequest):
            of_run = {"can_be_corrected": last_run(context) is not None, "first": context.is_enough()}
            content |= {**of_run, "pace": _pace(request, done, content)}
        return content

    return write_outputs(done, model, request, report, further)


def _pace(request: PropagateRequest, done: Segmented, report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pace of the run, for the next estimate; None if its steps were not the default ones, or were cut short."""
    unusual = request.steps is not None or request.augmented_copies is not None or request.fresh_augmentation
    unusual = unusual or bool(request.models) or request.code_faithful
    if unusual or done.corrected is not None or done.run.context.is_enough():
        return None
    return pace_of(report, done.work, get_method(request.method).load(), done.run.encoder.spec.architecture)
