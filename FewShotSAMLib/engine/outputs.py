"""The files that a job writes: checked before the work, written together after it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path, check_writable
from FewShotSAMLib.core.image_io import check_image_output, write_image
from FewShotSAMLib.core.segmentation import Segmentation, check_fits, check_output, write_segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.model_file import FewShotModel, save_model
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.request import ApplyRequest, PropagateRequest


def check_outputs(request: PropagateRequest | ApplyRequest) -> None:
    """Find out before the work whether its results can be written and that they overwrite nothing they came from.

    Saving a model over the one started from is meant to be possible: it is how a model grows.
    """
    check_output(request.output)
    save_to, sheet = None, None
    if isinstance(request, PropagateRequest):
        save_to, sheet = request.save_model, request.contact_sheet
    outputs = {"output": request.output, "confidence volume": request.confidence, "few-shot model": save_to}
    outputs["contact sheet"] = sheet
    outputs["array of classes"] = request.classes
    if request.confidence is not None:
        check_image_output(request.confidence)
    for path in (save_to, sheet, request.classes):
        if path is not None:
            check_writable(path)
    _check_distinct({name: path for name, path in outputs.items() if path is not None}, _inputs(request))


def check_fit(request: PropagateRequest | ApplyRequest, volume: Volume) -> None:
    """Find out, once the volume is known, whether the formats of the outputs can hold a result on its grid."""
    check_fits(request.output, volume.geometry, volume.source)
    if request.confidence is not None:
        check_image_output(request.confidence, volume.geometry)


def _inputs(request: PropagateRequest | ApplyRequest) -> dict[str, Path]:
    inputs = {"volume": request.volume}
    if isinstance(request, PropagateRequest):
        inputs["annotation"] = request.annotation
    else:
        inputs["few-shot model"] = request.model
    if request.compute.checkpoint is not None:
        inputs["checkpoint"] = request.compute.checkpoint
    return inputs


def _check_distinct(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    taken = {path.resolve(): name for name, path in inputs.items()}
    for name, path in outputs.items():
        place = path.resolve()
        other = taken.get(place) or next((taken[folder] for folder in place.parents if folder in taken), None)
        if other is not None:
            raise BadInputError(f"The {name} {path} would overwrite the {other}.", "Give it another name or folder.")
        taken[place] = name


def write_outputs(
    result: Segmentation,
    prediction: Prediction,
    model: FewShotModel | None,
    request: PropagateRequest | ApplyRequest,
    context: JobContext,
    source: Sequence[Any] = (),
) -> None:
    """Write everything beside its final place first, and only when all is complete rename it, the segmentation last."""
    warnings: Iterable[str] = ()
    with ExitStack() as files:
        context.progress("write", 0, 1)
        warnings = write_segmentation(result, files.enter_context(atomic_path(request.output)), source)
        if request.confidence is not None and prediction.confidence is not None:
            confidence = files.enter_context(atomic_path(request.confidence))
            write_image(prediction.confidence, result.geometry, confidence)
        if request.classes is not None:
            classes = files.enter_context(atomic_path(request.classes))
            np.save(classes, prediction.classes, allow_pickle=False)
        if model is not None and isinstance(request, PropagateRequest) and request.save_model is not None:
            save_model(model, files.enter_context(atomic_path(request.save_model)))
        context.check()
    for warning in warnings:
        context.warning(warning)
    context.progress("write", 1, 1)
