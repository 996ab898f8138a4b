"""`fewshotsam apply` on several volumes: one process, results named after volumes, failures reported at the end."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from FewShotSAMLib.cli import main

pytestmark = pytest.mark.usefixtures("with_test_jobs")


def apply(output: Path, *volumes: str, model: str = "m.fewshot") -> list[str]:
    return ["apply", model, *volumes, "-o", str(output)]


def test_several_volumes_in_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "series").mkdir()
    volumes = ["a/one.nii.gz", "b/two.seg.nrrd", str(tmp_path / "series"), "c/v1.2.nrrd"]
    report = tmp_path / "all.json"
    output = tmp_path / "new" / "results"
    assert main([*apply(output, *volumes), "--json", str(report), "--device", "cpu"]) == 0
    names = ["one.seg.nrrd", "two.seg.nrrd", "series.seg.nrrd", "v1.2.seg.nrrd"]
    assert sorted(path.name for path in output.iterdir()) == sorted(names)
    given = [json.loads((output / name).read_text()) for name in names]
    assert [each["volume"] for each in given] == [str(Path(volume).absolute()) for volume in volumes]
    assert all(each["device"] == "cpu" and each["model"] == str(Path("m.fewshot").absolute()) for each in given)
    reports = json.loads(report.read_text())
    assert [Path(each["output"]).name for each in reports] == names
    assert len({each["process"] for each in reports}) == 1, "the encoder stays warm"
    told = capsys.readouterr()
    assert "Volume 2 of 4: " in told.out and "4 of 4 volumes were segmented." in told.out


@pytest.mark.parametrize(("first", "code"), [("bad", 2), ("memory", 3), ("bug", 1), ("die", 1)])
def test_a_volume_that_fails_stops_no_other(
    first: str, code: int, tmp_path: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "all.json"
    arguments = apply(tmp_path / "results", f"{first}.nrrd", "good.nrrd", "in/bad.nii")
    if first == "bad":
        arguments.remove("in/bad.nii")
    assert main([*arguments, "-q", "--json", str(report)]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == (1 if first == "bad" else 2)
    assert errors[0].startswith(f"error: {Path(f'{first}.nrrd').absolute()}: ")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["good.seg.nrrd"]
    reports = json.loads(report.read_text())
    assert [each.get("error", {}).get("kind", "") for each in reports][1] == ""
    assert reports[0]["volume"]["name"] == first and reports[0]["error"]["message"]


def test_what_cannot_be_is_found_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "results"

    def refused(arguments: list[str]) -> str:
        assert main(arguments) == 2
        return capsys.readouterr().err

    assert "would both be called CT.seg.nrrd" in refused(apply(output, "a/ct.nrrd", "b/CT.nii"))
    assert "one volume at a time" in refused([*apply(output, "a.nrrd", "b.nrrd"), "--confidence", "c.nrrd"])
    assert not output.exists()
    output.mkdir()
    (output / "b.seg.nrrd").write_text("mine")
    assert "already" in refused(apply(output, "a.nrrd", "b.nrrd"))
    assert "has to be a folder" in refused(apply(output / "b.seg.nrrd", "x.nrrd", "y.nrrd"))
    report = [*apply(output, "x.nrrd", "y.nrrd"), "--json", str(output / "y.seg.nrrd")]
    assert "would overwrite the output" in refused(report)
    damaged = refused(apply(output, "x.nrrd", "y.nrrd", model="damaged.fewshot"))
    assert damaged.count("error: ") == 1 and "damaged" in damaged
    assert [path.name for path in output.iterdir()] == ["b.seg.nrrd"] and (output / "b.seg.nrrd").read_text() == "mine"


def test_cancelling_ends_them_all(tmp_path: Path, start_command_line: Callable[..., subprocess.Popen[str]]) -> None:
    output = tmp_path / "results"
    with start_command_line(*apply(output, "good.nrrd", "slow.nrrd", "last.nrrd")) as process:
        while not list(output.glob("slow.partial-*")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 4
    assert [path.name for path in output.iterdir()] == ["good.seg.nrrd"]
