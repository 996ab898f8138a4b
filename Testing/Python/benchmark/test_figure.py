"""The figures show every method, every task and every number of painted slices."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from benchmark.conftest import row

from FewShotSAMLib.benchmark import figure, write_results
from FewShotSAMLib.benchmark.figure import draw_figures

pytestmark = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")


ROWS = [
    row("good", 0.9),
    row("bad", 0.2),
    row("middling", 0.6),
    row("bad", 0.4, title="N", method="n", peak_gpu_memory_bytes=3 * 10**9, gpu="G"),
    row("good", 0.8, k=5),
    row("good", 0.0, k=7, status="failed"),
]
ACROSS = [
    row("b", 0.5 + 0.1 * place, k=k, source="a", group="liver, CT", details={"learning_seconds": 1.0})
    for place, k in enumerate((1, 3, "all"))
]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`drawn(rows)`: the figures by their file names; nothing is written, as that takes time."""
    kept: dict[str, Any] = {}

    def keep(made: Any, stem: Path) -> list[Path]:
        kept[stem.name] = made
        return []

    monkeypatch.setattr(figure, "_save", keep)

    def draw(rows: list[dict[str, Any]]) -> dict[str, Any]:
        kept.clear()
        draw_figures(rows, write_results(rows, tmp_path), tmp_path)
        return dict(kept)

    return draw


def test_the_worst_task_comes_first(drawn: Any) -> None:
    (axes,) = drawn(ROWS)["tasks"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bad", "middling", "good"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first on top"
    dots = {line.get_label(): sorted(zip(line.get_ydata(), line.get_xdata(), strict=True)) for line in axes.lines}
    assert dots == {"M": [(0, 0.2), (1, 0.6), (2, 0.9)], "N": [(0, 0.4)]}
    assert "3 painted slices" in axes.get_xlabel()


@pytest.mark.parametrize("count", [2, 4, 12])
def test_every_name_fits_and_the_best_comes_first(drawn: Any, count: int) -> None:
    titles = [f"A method with a name that is rather long, number {number}" for number in range(count)]
    rows = [
        row("a", number / 20, k=k, method=title, title=title) for number, title in enumerate(titles) for k in (3, 5)
    ]
    for name in ("dice", "tasks"):
        made = drawn(rows)[name]
        made.draw_without_rendering()
        (legend,) = made.legends
        assert [text.get_text() for text in legend.get_texts()] == titles[::-1]
        assert made.axes[0].get_window_extent().width > 250
        looks = {(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in made.axes[0].lines}
        assert len(looks) == count
        assert len({(line.get_color(), line.get_markerfacecolor()) for line in made.axes[0].lines}) == count
        (left, bottom), (right, top) = legend.get_window_extent().get_points()
        assert left >= 0 and bottom >= 0 and right <= made.bbox.width and top <= made.bbox.height, count


def test_time_and_memory_of_each_method(drawn: Any) -> None:
    figures = drawn(ROWS)
    (seconds,), (memory,) = figures["seconds"].axes, figures["memory"].axes
    for axes in (seconds, memory):
        assert [label.get_text() for label in axes.get_yticklabels()] == ["M", "N"]
    marks = [line.get_xdata()[0] for line in memory.lines if line.get_marker() == "|"]
    assert sorted(marks) == [5.0, 5.0, 3000.0]
    assert [text.get_text() for text in figures["memory"].legends[0].get_texts()] == ["of the process", "of the GPU"]
    assert not drawn(ROWS[:3])["memory"].legends


def test_across_volumes_all_slices_stand_last(drawn: Any) -> None:
    figures = drawn(ACROSS)
    assert set(figures) == {"across"}
    (axes,) = figures["across"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "all"]
    (line,) = axes.lines
    assert list(line.get_xdata()) == sorted(line.get_xdata()) and list(line.get_ydata()) == [0.5, 0.6, 0.7]
    assert axes.get_title() == "liver, CT"


def test_across_volumes_a_method_looks_the_same_in_every_group(drawn: Any) -> None:
    more = [{**each, "group": "spleen, CT", "title": title} for each in ACROSS for title in ("N", "M")]
    figure = drawn([*ACROSS, *({**each, "key": f"{each['key']}{each['title']}"} for each in more)])["across"]
    colors = [{line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes]
    assert set(colors[1]) == {"M", "N"} and colors[0]["M"] == colors[1]["M"]
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == ["M", "N"]
