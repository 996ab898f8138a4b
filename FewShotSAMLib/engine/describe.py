"""The job behind `fewshotsam inspect`: describes a file, in a process where a crash inside a library does no harm."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.facts import file_facts
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.model_file import load_model


def describe(parameters: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """The facts of the file named `path`: a volume, a segmentation or a few-shot model."""
    if not isinstance(parameters.get("path"), str):
        raise BadInputError("Missing parameter: path.", "Name the file to look at.")
    path = Path(parameters["path"])
    context.reading(path)
    if path.suffix.lower() != ".fewshot":
        return file_facts(path, partial(context.progress, "read"))
    model = load_model(path)
    return {
        "kind": "few-shot model",
        "name": path.name,
        "method": model.method,
        "encoder": model.encoder,
        "plane": model.plane,
        "normalisation": model.normalisation.to_json(),
        "segments": [{"name": segment.name, "label_value": segment.label_value} for segment in model.segments],
        "volumes_kept": len(model.atlases),
        "warnings": [],
    }
