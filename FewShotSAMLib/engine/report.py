"""The JSON report of a job."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from FewShotSAMLib import __version__
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.peak_memory import peak_memory_bytes
from FewShotSAMLib.engine.confidence import CERTAIN, SliceConfidence, next_slices
from FewShotSAMLib.engine.predict import Prediction
from FewShotSAMLib.engine.results import Filled
from FewShotSAMLib.engine.volume_run import VolumeRun

SUGGESTED_SLICES = 5
"""Number of slices suggested for painting next."""


def job_report(
    run: VolumeRun,
    result: Filled,
    prediction: Prediction,
    annotation: Annotation | None,
    training: Mapping[str, Any],
    asked: Sequence[int],
) -> dict[str, Any]:
    """The report of a finished job, ready for JSON. asked: the slices that were predicted; on the others no segment
    could occur."""
    exemplars, encoder = annotation.complete if annotation else (), run.encoder
    return {
        "version": __version__,
        "volume": {"name": run.volume.name, "geometry": run.volume.geometry.to_json()},
        "axis": run.plane.axis,
        "plane": run.plane.name,
        "normalisation": {**run.normalisation.to_json(), "window": [run.window.low, run.window.high]},
        "encoder": {
            "name": encoder.spec.name,
            "weights_hash": encoder.weights_hash,
            "device": str(encoder.device),
            "precision": encoder.precision,
            "slices_encoded": encoder.slices_encoded - run.encoded_before,
        },
        "training": dict(training),
        "segments": segment_report(result, annotation),
        "asked": list(asked),
        "slices": slice_report(prediction.slices, annotation),
        "mean_confidence": mean_confidence(prediction.slices, exemplars),
        "next_slices": next_slices(prediction.slices, exemplars, SUGGESTED_SLICES),
        "seconds": {**run.timer.seconds, "total": run.timer.total()},
        "peak_memory_bytes": peak_memory_bytes(),
        "warnings": list(run.context.warnings),
    }


def slice_report(slices: Mapping[int, SliceConfidence], annotation: Annotation | None) -> list[dict[str, Any]]:
    """Confidence and origin of each slice; predicted_segments: those, counted from 1, that were predicted on a slice
    painted for others."""
    painted = annotation.painted if annotation else ()
    empty = annotation.empty if annotation else ()
    origin = {**dict.fromkeys(painted, "painted"), **dict.fromkeys(empty, "empty")}
    rows = []
    for index in sorted({*slices, *painted}):
        found = slices.get(index, CERTAIN)  # painted for some segments, but outside the range to predict
        row = {"index": index, "origin": origin.get(index, "predicted")}
        row |= {"confidence": found.confidence, "doubtful_pixels": found.doubtful}
        if annotation and index in painted and index in slices and (unknown := annotation.unknown(index)):
            row["predicted_segments"] = sorted(unknown)
        rows.append(row)
    return rows


def mean_confidence(slices: Mapping[int, SliceConfidence], exemplars: Sequence[int]) -> float | None:
    """Mean over the predicted slices; None if nothing was left to predict."""
    predicted = [found.confidence for index, found in sorted(slices.items()) if index not in set(exemplars)]
    return round(sum(predicted) / len(predicted), 4) if predicted else None


def segment_report(result: Filled, annotation: Annotation | None) -> list[dict[str, Any]]:
    """Name, label value, painted slices and volume of each segment, and the slices declared not to contain it."""
    voxel_ml = float(np.prod(result.before.geometry.spacing)) / 1000.0
    rows = []
    counted = zip(result.before.segments, result.voxel_counts(), strict=True)
    for label, (segment, voxels) in enumerate(counted, start=1):
        row: dict[str, Any] = {"name": segment.name, "label_value": segment.label_value}
        painted = annotation.painted if annotation else ()
        row["painted_slices"] = [index for index in painted if annotation and annotation.shows(label, index)]
        if annotation and annotation.absent:
            row["empty_slices"] = list(annotation.absent[label - 1])
        rows.append({**row, "voxels": voxels, "volume_ml": float(f"{voxels * voxel_ml:.6g}")})
    return rows
