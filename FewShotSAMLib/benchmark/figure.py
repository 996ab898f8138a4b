"""The figures of a benchmark: Dice by painted slices and by task, time and memory, and Dice across volumes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from FewShotSAMLib.benchmark.results import title_of
from FewShotSAMLib.benchmark.rows import Row, is_done
from FewShotSAMLib.core.files import atomic_path

FORMATS = ("png", "svg")
MARKERS = "osD^vP*X"
COLORS = 10
"""Number of matplotlib's colours; further methods reuse them, with hollow markers and dashed lines."""
FEW = 4
"""Most methods whose names fit above a figure; longer legends go to the right of it."""
LETTER = 0.09
LINE = 0.2
"""Largest width of a letter in a legend, and height of a line, in inches."""
SHOWN_K = 3
"""k of the tasks figure; if that was not measured, the next larger k, or else the largest."""
ALL_AT = 1.5
"""Distance of "all slices painted" from the largest number on the axis."""


def draw_figures(rows: Sequence[Row], results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw `dice`, `tasks`, `seconds` and `memory` of the rows within volumes and `across` of those across volumes, if
    there are any, each as PNG and SVG; return the files. results: as `write_results` returns them."""
    done = [row for row in rows if is_done(row)]
    within = [row for row in done if not row.get("source")]
    files = []
    if within:
        files += _save(_dice_figure(results["summary"]), folder / "dice")
        files += _save(_tasks_figure(within), folder / "tasks")
        files += _save(_seconds_figure(within), folder / "seconds")
        files += _save(_memory_figure(within), folder / "memory")
    if results["across"]:
        files += _save(_across_figure(results["across"]), folder / "across")
    return files


def _dice_figure(summary: Sequence[Mapping[str, Any]]) -> Any:
    figure = _figure(7, 4.5)
    axes = figure.add_subplot()
    _dice_lines(axes, summary, _titles((each["title"], each["dice"]) for each in summary))
    axes.set_ylabel("mean Dice on the other slices")
    _legend(figure, axes)
    return figure


def _across_figure(across: Sequence[Mapping[str, Any]]) -> Any:
    """Draw a plot for each group of volumes, side by side."""
    groups = list(dict.fromkeys(each["group"] for each in across))
    figure = _figure(max(7.0, 3.5 * len(groups)), 4.5)
    plots = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    titles = _titles((each["title"], each["dice"]) for each in across)
    for axes, group in zip(plots, groups, strict=True):
        _dice_lines(axes, [each for each in across if each["group"] == group], titles)
        axes.set_title(group or "one structure", fontsize=10)
    plots[0].set_ylabel("mean Dice on other volumes")
    _legend(figure, *plots)
    return figure


def _dice_lines(axes: Any, means: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> None:
    """Plot the Dice of each method against the number of painted slices, with "all" last; titles: of all methods in the
    figure, so that each looks the same in all plots."""
    counts = sorted({each["k"] for each in means if each["k"] != "all"})
    places = {count: float(count) for count in counts} | {"all": (counts[-1] if counts else 0) + ALL_AT}
    for number, title in enumerate(titles):
        own = sorted((places[each["k"]], each["dice"]) for each in means if each["title"] == title)
        if own:
            look = {**_look(number), "linestyle": "-" if number < COLORS else "--", "label": title}
            axes.plot([place for place, _ in own], [dice for _, dice in own], **look)
    shown = [count for count in places if count != "all" or any(each["k"] == "all" for each in means)]
    axes.set_xticks([places[count] for count in shown], [str(count) for count in shown])
    axes.set_ylim(0, 1)
    axes.set_xlabel("painted slices")
    axes.grid(alpha=0.3)


def _look(number: int) -> dict[str, Any]:
    """Return a method's marker and colour."""
    marker = {"marker": MARKERS[number % len(MARKERS)], "color": f"C{number % COLORS}"}
    return marker if number < COLORS else {**marker, "markerfacecolor": "none"}


def _tasks_figure(rows: Sequence[Row]) -> Any:
    """Draw a line for each task, the worst (by the mean of its methods) on top, and a dot for each method."""
    counts = sorted({row["k"] for row in rows}, key=lambda count: (count < SHOWN_K, abs(count - SHOWN_K)))
    rows = [row for row in rows if row["k"] == counts[0]]
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(row["task"], []).append(row["dice"])
    tasks = sorted(scores, key=lambda task: fmean(scores[task]))
    figure = _figure(7, 1.6 + 0.25 * len(tasks))
    axes = figure.add_subplot()
    for number, title in enumerate(_titles((title_of(row), row["dice"]) for row in rows)):
        own = [row for row in rows if title_of(row) == title]
        places = [tasks.index(row["task"]) for row in own]
        look = {**_look(number), "linestyle": "", "alpha": 0.8, "label": title}
        axes.plot([row["dice"] for row in own], places, **look)
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"Dice with {counts[0]} painted slice{'s' * (counts[0] != 1)}")
    axes.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def _seconds_figure(rows: Iterable[Row]) -> Any:
    by_title = _by_title(rows)
    figure, axes = _bar_figure(by_title, "seconds per volume")
    _bars(axes, by_title, lambda row: max(row["seconds"], 1e-3))
    axes.set_xscale("log")
    return figure


def _memory_figure(rows: Iterable[Row]) -> Any:
    """Draw the peak memory; in a second colour that of the GPU, if one was used."""
    by_title = _by_title(rows)
    figure, axes = _bar_figure(by_title, "peak memory, MB")
    _bars(axes, by_title, lambda row: _megabytes(row.get("peak_memory_bytes")), "C0", "of the process")
    if any(row.get("peak_gpu_memory_bytes") for own in by_title.values() for row in own):
        _bars(axes, by_title, lambda row: _megabytes(row.get("peak_gpu_memory_bytes")), "C1", "of the GPU")
        _legend(figure, axes)
    axes.set_xlim(left=0)
    return figure


def _bar_figure(by_title: Mapping[str, Sequence[Row]], what: str) -> tuple[Any, Any]:
    figure = _figure(7, 1.6 + 0.5 * len(by_title))
    axes = figure.add_subplot()
    axes.set_yticks(range(len(by_title)), list(by_title))
    axes.set_ylim(len(by_title) - 0.5, -0.5)
    axes.set_xlabel(f"{what} (bar: all rows, mark: median)")
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _bars(
    axes: Any,
    by_title: Mapping[str, Sequence[Row]],
    value_of: Callable[[Row], float | None],
    color: str = "C0",
    label: str = "",
) -> None:
    """Draw a bar from the lowest to the highest value of each method's rows, and a mark at the median."""
    for place, own in enumerate(by_title.values()):
        values = [value for value in map(value_of, own) if value is not None]
        if values:
            ends = [min(values), max(values)]
            axes.plot(ends, [place, place], linewidth=8, alpha=0.35, solid_capstyle="butt", color=color)
            axes.plot([median(values)], [place], "|", markersize=16, markeredgewidth=3, color=color, label=label)
            label = ""  # the legend names it once


def _by_title(rows: Iterable[Row]) -> dict[str, list[Row]]:
    by_title: dict[str, list[Row]] = {}
    for row in rows:
        by_title.setdefault(title_of(row), []).append(row)
    return by_title


def _megabytes(size: int | None) -> float | None:
    return size / 1e6 if size else None


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _legend(figure: Any, *plots: Any) -> None:
    """Add one legend for all plots, each method once."""
    shown: dict[str, Any] = {}
    for axes in plots:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    width, height = figure.get_size_inches()
    beside = LETTER * max(map(len, shown), default=0)
    if len(shown) <= FEW and beside <= width / 2:
        figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    else:
        figure.set_size_inches(width + beside, max(height, LINE * (len(shown) + 1)))
        figure.legend(shown.values(), shown.keys(), loc="outside right upper", fontsize=9, frameon=False)


def _titles(means: Iterable[tuple[str, float]]) -> list[str]:
    """Sort titles by their mean Dice, the best first."""
    scores: dict[str, list[float]] = {}
    for title, score in means:
        scores.setdefault(title, []).append(score)
    return sorted(scores, key=lambda title: -fmean(scores[title]))


def _save(figure: Any, stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in FORMATS]
    for path in paths:
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=120)
    return paths
