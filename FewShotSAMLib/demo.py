"""The demo: a phantom with several organs; three slices of each of three organs are painted and propagated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.intensity import parse_normalisation
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import empty_neighbours, keep_slices, slices_of, slices_to_paint
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import Segmentation, read_segmentation, write_segmentation
from FewShotSAMLib.core.volume import Volume

ORGANS = ("liver", "spleen", "left kidney")
PAINTED_SLICES = 3
AXIS = 0
MONTAGE_SLICES = 12
MONTAGE_COLUMNS = 4

Propagate = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Runs a propagation with these parameters and returns its report."""


@dataclass(frozen=True)
class DemoResult:
    """Dice of each organ over the slices that were neither painted nor declared empty, and the files written."""

    dice: Mapping[str, float]
    painted: tuple[int, ...]
    segmentation: Path
    picture: Path
    report: Mapping[str, Any]


def run_demo(output: Path, propagate: Propagate) -> DemoResult:
    """Make the phantom, paint, propagate, compare with the phantom's ground truth, and draw a picture.

    Writes `volume.nrrd`, `painted.seg.nrrd`, `result.seg.nrrd`, `few-shot-model.fewshot` and `montage.png`.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"The folder {output} cannot be created ({error.strerror}).", "Choose another.") from error
    volume, truth = ct_phantom()
    organs = [truth.mask(segment) for segment in truth.segments if segment.name in ORGANS]
    painted = sorted({index for organ in organs for index in slices_to_paint(organ, AXIS, PAINTED_SLICES)})
    empty = empty_neighbours(np.logical_or.reduce(organs), AXIS)
    write_image(volume.voxels, volume.geometry, output / "volume.nrrd")
    write_segmentation(keep_slices(truth, AXIS, painted, ORGANS), output / "painted.seg.nrrd")
    report = propagate(
        {
            "volume": str(output / "volume.nrrd"),
            "annotation": str(output / "painted.seg.nrrd"),
            "output": str(output / "result.seg.nrrd"),
            "save_model": str(output / "few-shot-model.fewshot"),
            "model_as_is": True,
            "axis": AXIS,
            "empty_slices": empty,
        }
    )
    result = read_segmentation(output / "result.seg.nrrd")
    unseen = [index for index in range(volume.geometry.shape[AXIS]) if index not in {*painted, *empty}]
    scores = _scores(result, truth, unseen)
    draw_montage(volume, result, truth, report, output / "montage.png")
    return DemoResult(scores, tuple(painted), output / "result.seg.nrrd", output / "montage.png", report)


def _scores(result: Segmentation, truth: Segmentation, slices: list[int]) -> dict[str, float]:
    wanted = {segment.name: truth.mask(segment) for segment in truth.segments}
    return {
        segment.name: dice(result.mask(segment)[slices], wanted[segment.name][slices]) for segment in result.segments
    }


def draw_montage(
    volume: Volume, result: Segmentation, truth: Segmentation, report: Mapping[str, Any], path: Path
) -> None:
    """Draw slices with the result in colour and the ground truth in outline; below, the confidence of every slice."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    window = parse_normalisation("auto", volume).resolve(volume)
    origin = {entry["index"]: entry["origin"] for entry in report["slices"]}
    held = slices_of(np.logical_or.reduce([truth.mask(s) for s in truth.segments if s.name in ORGANS]), AXIS)
    shown = np.unique(np.linspace(held[0], held[-1], MONTAGE_SLICES).round().astype(int))
    rows = -(-len(shown) // MONTAGE_COLUMNS)
    figure = Figure(figsize=(3 * MONTAGE_COLUMNS, 3 * rows + 1.2), layout="constrained", facecolor="black")
    grid = figure.add_gridspec(rows + 1, MONTAGE_COLUMNS, height_ratios=[3] * rows + [1])
    for place, index in enumerate(shown):
        axes = figure.add_subplot(grid[place // MONTAGE_COLUMNS, place % MONTAGE_COLUMNS])
        axes.imshow(window.apply(volume.slice_at(AXIS, int(index))), cmap="gray", vmin=0, vmax=1)
        _draw_segments(axes, result, truth, int(index))
        axes.set_title(f"slice {index}, {origin[int(index)]}", color="white", fontsize=9)
        axes.set_axis_off()
    _draw_confidence(figure.add_subplot(grid[rows, :]), report)
    patches = [Patch(color=segment.color, label=segment.name) for segment in result.segments]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), labelcolor="white", frameon=False)
    figure.savefig(path, dpi=90)


def _draw_segments(axes: Any, result: Segmentation, truth: Segmentation, index: int) -> None:
    for segment in result.segments:
        mask = result.mask(segment)[index]
        if mask.any():
            overlay = np.zeros((*mask.shape, 4))
            overlay[mask] = (*segment.color, 0.5)
            axes.imshow(overlay)
        wanted = truth.mask(next(other for other in truth.segments if other.name == segment.name))[index]
        if wanted.any():
            axes.contour(wanted, levels=[0.5], colors=[segment.color], linewidths=1.0)


def _draw_confidence(axes: Any, report: Mapping[str, Any]) -> None:
    colors = {"painted": "white", "empty": "dimgray", "predicted": "tab:blue"}
    rows = report["slices"]
    axes.bar(
        [row["index"] for row in rows],
        [row["confidence"] for row in rows],
        color=[colors[row["origin"]] for row in rows],
    )
    axes.set_ylim(0, 1)
    axes.set_facecolor("black")
    axes.tick_params(colors="white")
    axes.set_xlabel("slice", color="white")
    axes.set_ylabel("confidence", color="white")
    axes.set_title("white: painted, grey: declared empty, blue: predicted", color="white", fontsize=9)
