"""The files that a job writes: checked before it computes, written together afterwards."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.files import atomic_path, atomic_paths, check_writable
from FewShotSAMLib.core.image_io import check_image_output, write_image
from FewShotSAMLib.core.plain_json import plain
from FewShotSAMLib.core.segmentation import check_fits, check_output, write_segmentation
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.engine.model_file import FewShotModel, save_model
from FewShotSAMLib.engine.propagation import Segmented
from FewShotSAMLib.engine.request import ApplyRequest, PropagateRequest

FurtherWriter = Callable[[Path, Path | None], None]
"""Writes a further file, given its own path and that of the segmentation's temporary file, if there is one."""


def check_outputs(request: PropagateRequest | ApplyRequest) -> None:
    """Raise BadInputError, before any work, if a result cannot be written or would overwrite an input.

    A model may deliberately be saved over the one it started from: that is how a model grows.
    """
    if request.output is not None:
        check_output(request.output)
    elif request.record is not None:
        raise BadInputError("A record describes the written segmentation, but none is written.", "Give output as well.")
    save_to, sheet = None, None
    if isinstance(request, PropagateRequest):
        save_to, sheet = request.save_model, request.contact_sheet
    outputs = {"output": request.output, "confidence volume": request.confidence, "few-shot model": save_to}
    outputs |= {"contact sheet": sheet, "array of classes": request.classes, "report": request.report}
    if request.confidence is not None:
        check_image_output(request.confidence)
    outputs |= {"strip": request.strip, "record": request.record}
    for path in (save_to, sheet, request.classes, request.strip, request.record, request.report):
        if path is not None:
            check_writable(path)
    _check_distinct({name: path for name, path in outputs.items() if path is not None}, _inputs(request))


def check_fit(request: PropagateRequest | ApplyRequest, volume: Volume) -> None:
    """Check, once the volume is read, that the output formats can store a result on its grid."""
    if request.output is not None:
        check_fits(request.output, volume.geometry, volume.source)
    if request.confidence is not None:
        check_image_output(request.confidence, volume.geometry)


def _inputs(request: PropagateRequest | ApplyRequest) -> dict[str, Path]:
    inputs = {"volume": request.volume}
    if isinstance(request, PropagateRequest):
        inputs["annotation"] = request.annotation
        inputs |= {f"few-shot model {path.name}": path for path in request.models}
    else:
        inputs["few-shot model"] = request.model
    if request.compute.checkpoint is not None:
        inputs["checkpoint"] = request.compute.checkpoint
    return inputs


def _check_distinct(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    taken = {path.resolve(): name for name, path in inputs.items()}
    numbers = {_number(path): name for name, path in inputs.items()}
    for name, path in outputs.items():
        place, number = path.resolve(), _number(path)
        other = taken.get(place) or next((taken[folder] for folder in place.parents if folder in taken), None)
        other = other or (numbers.get(number) if number is not None else None)
        if other is not None:
            raise BadInputError(f"The {name} {path} would overwrite the {other}.", "Give it another name or folder.")
        taken[place], numbers[number] = name, name


def _number(path: Path) -> tuple[int, int] | None:
    """Identity of a file whatever its name, as with hard links or different capitals; None if it does not exist yet."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def write_outputs(
    done: Segmented,
    model: FewShotModel | None,
    request: PropagateRequest | ApplyRequest,
    report: Callable[[], dict[str, Any]],
    further: Mapping[Path, FurtherWriter],
) -> dict[str, Any]:
    """Write all outputs or none: first under temporary names, which are renamed once all are complete, the segmentation
    last. Returns the report, which is made after all else is written.

    further: writers of further files.
    """
    prediction, context, volume = done.prediction, done.run.context, done.run.volume
    save_to = request.save_model if isinstance(request, PropagateRequest) and model is not None else None
    wanted = (request.confidence, request.classes, save_to, request.report, *further, request.output)
    given = [path for path in wanted if path is not None]
    context.progress("write", 0, 1)
    with atomic_paths(given) as temporaries:
        places = dict(zip(given, temporaries, strict=True))
        output = None if request.output is None else places[request.output]
        warnings = [] if output is None else write_segmentation(done.filled.whole(), output, volume.source)
        if request.confidence is not None and prediction.confidence is not None:
            write_image(prediction.confidence, volume.geometry, places[request.confidence])
        if request.classes is not None:
            with atomic_path(places[request.classes]) as path, path.open("wb") as stream:
                np.save(stream, prediction.classes, allow_pickle=False)
        if model is not None and save_to is not None:
            save_model(model, places[save_to])
        for extra, write in further.items():
            write(places[extra], output)
        for warning in warnings:
            context.warning(warning)
        content = report()
        if request.report is not None:
            with atomic_path(places[request.report]) as path:
                path.write_text(json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        context.check()
    context.progress("write", 1, 1)
    return content
