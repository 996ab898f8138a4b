"""Files that a job writes next to its result: its report, and a picture of the slices to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.files import cannot_write
from FewShotSAMLib.core.geometry import slices_of
from FewShotSAMLib.core.image_io import write_picture
from FewShotSAMLib.core.plain_json import dumps_with_digest
from FewShotSAMLib.core.thumbnail import lay_over, thumbnail_samples
from FewShotSAMLib.engine.outputs import FurtherWriter
from FewShotSAMLib.engine.propagation import Segmented
from FewShotSAMLib.engine.request import ApplyRequest, PropagateRequest

TILE = 112
"""Longer side of a slice in the picture, in pixels."""
LEAST_SURE = 3
"""Number of slices in the picture besides the middle one: the least certain ones."""
GAP = 2
_QUALITY = 85


def further_files(
    request: PropagateRequest | ApplyRequest, done: Segmented
) -> tuple[dict[Path, FurtherWriter], dict[str, Any]]:
    """Writers for the strip and the record that a request asks for, as `write_outputs` takes them, and their entry in
    the report: the slices `shown`."""
    writers: dict[Path, FurtherWriter] = {}
    if request.strip is None and request.record is None:
        return writers, {}
    report = {"output": request.output and str(request.output), **done.report(), "made_of": request.made_of}
    shown = shown_slices(done, report)
    if request.strip is not None:
        writers[request.strip] = lambda path, _: write_picture(slice_strip(done, shown), path, _QUALITY)
    if request.record is not None:
        writers[request.record] = lambda path, result: _write_record({**report, "shown": shown}, path, result)
    return writers, {"shown": shown}


def shown_slices(done: Segmented, report: Mapping[str, Any]) -> list[int]:
    """The middle slice of the segments found, and the least certain slices, without duplicates."""
    axis = done.run.axis
    found = slices_of(done.prediction.classes, axis)
    middle = int(found[len(found) // 2]) if len(found) else done.run.volume.geometry.shape[axis] // 2
    unsure = report["next_slices"]
    return list(dict.fromkeys([middle, *unsure[:LEAST_SURE]]))


def slice_strip(done: Segmented, shown: Sequence[int]) -> np.ndarray:
    """(rows, columns, 3) uint8: slices side by side, through the run's window, with the segments over them."""
    run, colors = done.run, [segment.color for segment in done.filled.before.segments]
    rows, columns = thumbnail_samples(run.plane.shape, run.plane.spacing, TILE)
    tiles = []
    for index in shown:
        grey = run.window.apply(run.plane.orient(run.volume.slice_at(run.axis, index))[rows[:, None], columns])
        tile = 255.0 * (grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2))
        classes = run.plane.orient(np.take(done.prediction.classes, index, run.axis))[rows[:, None], columns]
        for label, color in enumerate(colors, start=1):
            lay_over(tile, classes == label, color)
        tiles += [tile, np.zeros((len(rows), GAP, 3))]
    return np.concatenate(tiles[:-1], axis=1).astype(np.uint8)


def _write_record(report: Mapping[str, Any], path: Path, result: Path | None) -> None:
    """Write the record with the result's size and time, which identify it even after it is renamed."""
    assert result is not None  # ensured by `check_outputs`
    status = result.stat()
    written = {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    try:
        path.write_text(dumps_with_digest({**report, "written": written}), encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error
