"""The two figures of a benchmark: Dice against the number of painted slices, and the time that each method takes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from FewShotSAMLib.benchmark.results import title_of
from FewShotSAMLib.benchmark.rows import Row, is_done
from FewShotSAMLib.core.files import atomic_path

FORMATS = ("png", "svg")
MARKERS = "osD^vP*X"


def draw_figures(rows: Sequence[Row], summary: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw `dice` and `seconds`, each as PNG and SVG; returns the files."""
    return [*_save(_dice_figure(summary), folder / "dice"), *_save(_seconds_figure(rows), folder / "seconds")]


def _dice_figure(summary: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    titles = list(dict.fromkeys(each["title"] for each in summary))
    for number, title in enumerate(titles):
        own = [each for each in summary if each["title"] == title]
        marker = MARKERS[number % len(MARKERS)]
        axes.plot([each["k"] for each in own], [each["dice"] for each in own], marker=marker, label=title)
    axes.set_xticks(sorted({each["k"] for each in summary}))
    axes.set_ylim(0, 1)
    axes.set_xlabel("painted slices")
    axes.set_ylabel("mean Dice on the other slices")
    axes.grid(alpha=0.3)
    if titles:
        figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return figure


def _seconds_figure(rows: Iterable[Row]) -> Any:
    """A bar from the fastest to the slowest row of each method, and a mark at the median; logarithmic."""
    from matplotlib.figure import Figure

    seconds: dict[str, list[float]] = {}
    for row in rows:
        if is_done(row):
            seconds.setdefault(title_of(row), []).append(max(row["seconds"], 1e-3))
    figure = Figure(figsize=(7, 1.4 + 0.5 * len(seconds)), layout="constrained")
    axes = figure.add_subplot()
    for place, values in enumerate(seconds.values()):
        axes.plot(
            [min(values), max(values)], [place, place], linewidth=8, alpha=0.35, solid_capstyle="butt", color="C0"
        )
        axes.plot([float(np.median(values))], [place], "|", markersize=16, markeredgewidth=3, color="C0")
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.set_ylim(len(seconds) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("seconds per volume (bar: all rows, mark: median)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _save(figure: Any, stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in FORMATS]
    for path in paths:
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=120)
    return paths
