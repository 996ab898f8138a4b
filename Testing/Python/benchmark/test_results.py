"""Tables and figures, and the command from end to end."""

import csv
import importlib.util
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark.conftest import row

from FewShotSAMLib.benchmark import METHODS, Contender, MethodSettings, Plan, RowFile, run_plan, write_results
from FewShotSAMLib.benchmark.results import latest, summarise
from FewShotSAMLib.benchmark.runner import IN_THIS_PROCESS
from FewShotSAMLib.cli import main
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.segmentation import read_segmentation
from FewShotSAMLib.core.volume import Volume


def threshold(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
    return np.asarray(volume.voxels > 170)


def test_means_are_those_of_method_and_k() -> None:
    rows = [row("a", 0.2, 5), row("a", 0.4), row("b", 0.8), row("c", 0.0, status="failed")]
    three, five = summarise(rows)
    assert (three["k"], three["tasks"], three["dice"]) == (3, 2, pytest.approx(0.6))
    assert (five["k"], five["tasks"], five["dice"]) == (5, 1, pytest.approx(0.2))


def test_rows_from_before_a_change_of_title_belong_to_their_method() -> None:
    rows = [row("a", 0.2, method="lora", title=title, key=title) for title in ("LoRA in the encoder", "LoRA")]
    (both,) = summarise(rows)
    assert (both["title"], both["dice"]) == ("Cheap Lunch's LoRA alone", pytest.approx(0.2))


def test_memory_stands_in_both_tables_and_that_of_a_gpu_where_one_was_used(tmp_path: Path) -> None:
    across = {"source": "b", "group": "liver", "details": {"learning_seconds": 1.0}}
    rows = [row("a", 0.2), row("c", 0.2, **across)]
    on_gpu = [{**each, "peak_gpu_memory_bytes": 3 * 10**9, "gpu": "G"} for each in rows]
    for given, cells in ((rows, "| 5 |"), (on_gpu, "| 5 | 3000 |")):
        write_results(given, tmp_path)
        lines = (tmp_path / "results.md").read_text(encoding="utf-8").splitlines()
        means = [line for line in lines if line.startswith(("| M |", "| liver |"))]
        assert len(means) == 2 and all(line.endswith(cells) for line in means), means
        assert sum("peak GPU memory, MB" in line for line in lines) == (2 if given is on_gpu else 0)


def test_each_place_has_one_row() -> None:
    old, new, failed = row("a", 0.1, key="x"), row("a", 0.2, key="y"), row("a", 0.0, key="z", status="failed")
    assert latest([old, new, failed]) == [new]
    assert latest([old, new, failed], preferred=[old]) == [old]


def test_tables_show_every_row_worst_first(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    def fail(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
        raise ValueError("a | b")

    plan = plan_of(Contender("threshold", "Threshold", threshold), Contender("fail", "Fail", fail), counts=(1, 3))
    heard: list[dict[str, Any]] = []
    rows = run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, lambda row, *_: heard.append(row))
    assert heard[-1]["log"] and all("log" not in kept for kept in rows)  # a path, for the terminal only
    results = write_results(rows, tmp_path, ["tiny thing with k = 7: why"])
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    worst = text.partition("worst first")[2].partition("## Failed")[0]
    scores = [float(line.split(" | ")[3]) for line in worst.splitlines() if "Threshold" in line]
    assert len(scores) == 4 and scores == sorted(scores)
    assert "a \\| b" in text and "tiny thing" in text
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) == results
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [line["status"] for line in table] == ["done"] * 4 + ["failed"] * 4
    assert table[0]["painted"]
    for name in ("results.md", "results.json", "results.csv", "rows.jsonl"):
        content = (tmp_path / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in content and (not platform.node() or platform.node() not in content)


def test_the_command_from_end_to_end(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("itk") is None:
        pytest.skip("itk-morphologicalcontourinterpolation is not installed")
    out = tmp_path / "out"
    command = ["benchmark", "--tasks", str(data / "tasks.toml"), "--methods", "fill-between-slices", "--k", "3,5"]
    command += ["--output", str(out), "--keep-segmentations"]
    assert main(command) == 0
    assert "k = 3: Dice" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert {"rows.jsonl", "results.json", "results.csv", "results.md", "dice.png", "dice.svg"} <= names
    assert {f"{name}.{kind}" for name in ("seconds", "memory", "tasks") for kind in ("png", "svg")} <= names
    kept = read_segmentation(out / "segmentations" / "fill-between-slices" / "k3" / "cylinder.seg.nrrd")
    assert kept.mask(kept.segments[0]).any()
    before = (out / "rows.jsonl").read_bytes()
    assert main([*command, "--k", "3,99", "--json", "-", "--quiet"]) == 0
    assert (out / "rows.jsonl").read_bytes() == before
    assert capsys.readouterr().out == ""
    written = (out / "results.md").read_text(encoding="utf-8")
    assert "cylinder with k = 99" in written
    (out / "dice.png").unlink()
    assert main(["benchmark", "--figure-only", "--output", str(out), "--quiet"]) == 0
    assert (out / "results.md").read_text(encoding="utf-8") == written, "what was left out is still named"
    assert (out / "dice.png").stat().st_size > 1000


def test_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--figure-only", "--output", str(tmp_path)]) == 2
    assert "Run the benchmark there first" in capsys.readouterr().err


def test_a_missing_package_is_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = Contender("absent", "Absent", threshold, packages=("no_such_package.part",))
    monkeypatch.setitem(METHODS, "absent", absent)
    command = ["benchmark", "--tasks", str(data / "tasks.toml"), "--methods", "absent", "--output", str(tmp_path)]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "pip install 'fewshotsam[benchmark]'" in error[0]
