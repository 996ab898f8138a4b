"""FewShotSAM itself, through the same job that the background process runs: files in, files out."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.benchmark.outcome import Outcome, Settings
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import Volume

RESULT = "result.seg.nrrd"
STATE: dict[str, Any] = {}
"""The encoder stays warm from one row to the next, as it does in the background process."""


def forget_embeddings() -> None:
    """Let go of what rows before left in memory, so that the next one encodes its slices itself."""
    if STATE:  # else the engine was not even loaded
        from FewShotSAMLib.engine.embeddings import forget

        forget(STATE)


def few_shot(volume: Volume, annotation: Annotation, settings: Settings, **options: Any) -> Outcome:
    """`fewshotsam propagate` with its defaults but for `options`, parameters of the job."""
    with _folder() as folder:
        report = _propagate(folder, volume, annotation, settings, options)
        return _outcome(folder, volume, report)


def learn(
    volume: Volume, annotation: Annotation, settings: Settings, **options: Any
) -> tuple[bytes, Mapping[str, Any]]:
    """`fewshotsam propagate --save-model` with no slice left to segment: the few-shot model's file, and the report."""
    with _folder() as folder:
        model, first = folder / "model.fewshot", annotation.painted[0]
        asked = {**options, "save_model": str(model), "range": [first, first]}
        report = _propagate(folder, volume, annotation, settings, asked)
        return model.read_bytes(), report


def apply_model(volume: Volume, model: bytes, settings: Settings) -> Outcome:
    """`fewshotsam apply` of a few-shot model's file."""
    from FewShotSAMLib.engine.context import JobContext
    from FewShotSAMLib.engine.jobs import apply

    with _folder() as folder:
        (folder / "model.fewshot").write_bytes(model)
        parameters = {"model": str(folder / "model.fewshot"), **_common(folder, volume, settings)}
        return _outcome(folder, volume, apply(parameters, JobContext(state=STATE)))


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that goes when it is left."""
    with tempfile.TemporaryDirectory(prefix="fewshotsam-benchmark-") as name:
        yield Path(name)


def _propagate(
    folder: Path, volume: Volume, annotation: Annotation, settings: Settings, options: Mapping[str, Any]
) -> Mapping[str, Any]:
    from FewShotSAMLib.engine.context import JobContext
    from FewShotSAMLib.engine.jobs import propagate

    write_segmentation(annotation.segmentation, folder / "painted.seg.nrrd")
    parameters = {
        "annotation": str(folder / "painted.seg.nrrd"),
        "axis": annotation.axis,
        "empty_slices": list(annotation.empty),
        "seed": settings.seed,
        **_common(folder, volume, settings),
        **options,
    }
    return propagate(parameters, JobContext(state=STATE))


def _common(folder: Path, volume: Volume, settings: Settings) -> dict[str, Any]:
    """Parameters of either job; the volume is put into the folder."""
    write_image(volume.voxels, volume.geometry, folder / "volume.nrrd")
    return {
        "volume": str(folder / "volume.nrrd"),
        "output": str(folder / RESULT),
        "encoder": settings.encoder,
        "device": settings.device,
        "precision": settings.precision,
        **({"no_cache": True} if settings.cache is None else {"cache": str(settings.cache)}),
    }


def _outcome(folder: Path, volume: Volume, report: Mapping[str, Any]) -> Outcome:
    mask = np.zeros(volume.geometry.shape, bool)
    if any(segment["voxels"] for segment in report["segments"]):  # a file without any cannot be read back
        result = read_segmentation(folder / RESULT)
        mask = result.mask(result.segments[0])
    encoder = report["encoder"]
    details = {
        "stages": report["seconds"],
        "slices_encoded": encoder["slices_encoded"],
        "device": encoder["device"],
        "precision": encoder["precision"],
        "weights": encoder["weights_hash"],
        "warnings": report["warnings"],
    }
    return Outcome(mask, details)
