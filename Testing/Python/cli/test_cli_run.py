"""`fewshotsam propagate` and `apply` with a real background process and jobs written for the tests."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import wait_until

from FewShotSAMLib.cli import main

pytestmark = pytest.mark.usefixtures("with_test_jobs")


def test_summary_warnings_and_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "ergebnis ü.seg.nrrd"
    assert main(["propagate", "good.nrrd", "painted.nrrd", "-o", str(output)]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"Written: {output}",
        "  Leber [ü]: 3 painted slices, 1481.2 ml",
        "  Milz",
        "Encoder: tiny, cpu, fp32",
        "Mean confidence of the predicted slices: 0.88",
        "Next slices to paint, where the result is least sure (counted from 0): 17, 4",
        "Warnings: 1",
    ]
    lines = captured.err.splitlines()
    assert "warning: The spacing is [irregular]." in lines
    assert lines[0] == "Encoding slices: 0 of 100"
    assert "Encoding slices: 100 of 100" in lines
    assert len(lines) <= 6


def test_all_options_reach_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = "propagate ct.nrrd painted.seg.nrrd -o out.nii.gz --axis 1 --empty-slices 3,40 --painted-slices 5-7,20"
    arguments += " --range 2,50 --method few-shot --encoder vit_b --checkpoint w.pth --device cuda:1 --precision bf16"
    arguments += " --normalization lung --steps 10 --seed 4 --save-model m.fewshot --warm-start n.fewshot --quiet"
    arguments += " --empty-of liver=3-5 --empty-of a=b=7 --empty-of liver=9"
    arguments += " --cache c --cache-limit-gb 1.5 --largest-island --fill-holes --smooth-mm 2 --confidence p.nrrd"
    assert main(arguments.split()) == 0
    paths = {"volume": "ct.nrrd", "annotation": "painted.seg.nrrd", "output": "out.nii.gz", "checkpoint": "w.pth"}
    paths |= {"save_model": "m.fewshot", "warm_start": "n.fewshot", "cache": "c", "confidence": "p.nrrd"}
    expected: dict[str, object] = {name: str(tmp_path / file) for name, file in paths.items()}
    expected |= {"empty_of": {"liver": [3, 4, 5, 9], "a=b": [7]}}
    expected |= {"axis": 1, "empty_slices": [3, 40], "painted_slices": [5, 6, 7, 20], "range": [2, 50]}
    expected |= {"method": "few-shot", "encoder": "vit_b", "device": "cuda:1", "precision": "bf16"}
    expected |= {"normalisation": "lung", "steps": 10, "seed": 4, "cache_limit_gb": 1.5}
    expected |= {"largest_island": True, "fill_holes": True, "smooth_mm": 2.0}
    assert json.loads((tmp_path / "out.nii.gz").read_text()) == expected


def test_what_is_not_given_is_left_to_the_job(tmp_path: Path) -> None:
    output = tmp_path / "out.nrrd"
    assert main(["apply", "m.fewshot", "ct.nrrd", "-o", str(output), "--no-cache", "-q"]) == 0
    assert set(json.loads(output.read_text())) == {"model", "volume", "output", "no_cache"}


def test_a_slice_zero_and_a_seed_zero_are_given_values(tmp_path: Path) -> None:
    output = tmp_path / "out.nrrd"
    arguments = ["propagate", "a", "b", "-o", str(output), "--axis", "0", "--seed", "0", "--empty-slices", "0", "-q"]
    assert main(arguments) == 0
    parameters = json.loads(output.read_text())
    assert (parameters["axis"], parameters["seed"], parameters["empty_slices"]) == (0, 0, [0])


@pytest.mark.parametrize(
    ("volume", "code", "line"),
    [
        ("bad.nrrd", 2, "error: The file is empty. Paint it."),
        ("memory.nrrd", 3, "error: There is not enough memory"),
        ("bug.nrrd", 1, "error: KeyError: 'oops'"),
        ("die.nrrd", 1, "error: The background process crashed (SIGABRT)."),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    volume: str, code: int, line: str, tmp_path: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.seg.nrrd"
    assert main(["propagate", volume, "b", "-o", str(output), "--quiet"]) == code
    captured = capsys.readouterr()
    errors = [text for text in captured.err.splitlines() if not text.startswith("warning: ")]
    assert len(errors) == 1
    assert errors[0].startswith(line)
    assert captured.out == ""
    assert not output.exists()
    if code == 1:
        log = Path(errors[0].rpartition("Log: ")[2])
        assert log.parent == own_folders / "logs" and log.is_file()


def test_the_json_report_and_the_json_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["propagate", "good", "b", "-o", str(tmp_path / "o.nrrd")]
    assert main([*arguments, "--json", str(tmp_path / "bericht.json")]) == 0
    report = json.loads((tmp_path / "bericht.json").read_text(encoding="utf-8"))
    assert report["next_slices"] == [17, 4]
    capsys.readouterr()
    assert main([*arguments, "--json", "-"]) == 0
    captured = capsys.readouterr()
    events = [json.loads(line) for line in captured.out.splitlines()]
    assert events[-1] == {"type": "result", "id": "r1", "report": report}
    assert captured.out.isascii()
    assert "Mean confidence" in captured.err


def test_a_report_that_cannot_be_written_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "o.nrrd"
    assert main(["propagate", "good", "b", "-o", str(output), "--json", str(tmp_path / "no" / "r.json")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["propagate", "good", "b", "-o", str(output), "--json", str(tmp_path / "r.nrrd")]) == 2
    assert "not a .json file" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("job", "signals"), [("slow", [signal.SIGINT]), ("slow", [signal.SIGTERM]), ("stubborn", [signal.SIGINT] * 2)]
)
def test_an_interrupt_cancels_and_leaves_nothing(
    job: str,
    signals: list[signal.Signals],
    tmp_path: Path,
    jobs_script: Path,
    start_command_line: Callable[..., subprocess.Popen[str]],
) -> None:
    """Ctrl-C asks the job to stop; a second one does not wait for a job that ignores it."""
    with start_command_line("propagate", f"{job}.nrrd", "b", "-o", str(tmp_path / "o.nrrd"), "--json", "-") as process:
        while len(list(tmp_path.glob("o.partial-*"))) == 0:
            time.sleep(0.02)
        start = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.4)
        output, errors = process.communicate(timeout=10)
    assert process.returncode == 4, errors
    assert time.monotonic() - start < 8
    assert errors.splitlines()[-1].startswith("error: The run was cancelled")
    assert json.loads(output.splitlines()[-1])["kind"] == "cancelled"
    assert wait_until(lambda: list(tmp_path.iterdir()) == [jobs_script], 2)


def test_the_demo_runs_through_the_background_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = pytest.importorskip("FewShotSAMLib.demo")

    def run_demo(output: Path, propagate: Callable[[dict], dict]) -> SimpleNamespace:
        report = propagate({"volume": "good", "output": str(output)})
        files = {"segmentation": report["output"], "picture": "montage.png"}
        return SimpleNamespace(dice={"liver": 0.912}, painted=(3, 5), **files)

    monkeypatch.setattr(demo, "run_demo", run_demo)
    assert main(["demo", "-o", str(tmp_path / "result")]) == 0
    out = capsys.readouterr().out
    assert "0.912" in out and str(tmp_path / "result") in out and "montage.png" in out
