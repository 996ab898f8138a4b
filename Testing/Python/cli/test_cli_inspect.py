"""`fewshotsam inspect` shows how a file was understood, in words and as JSON."""

import json
from pathlib import Path

import painted
import pytest

from FewShotSAMLib.cli import main


@pytest.mark.usefixtures("in_kept_process")
def test_volume_annotation_model_and_nonsense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume, annotation = painted.write(tmp_path, (4, 6), ("liver", "spleen"), depth=10, seed=2).values()
    assert main(["inspect", volume]) == 0
    text = capsys.readouterr().out
    assert "48 x 40 x 10 voxels" in text and "looks like CT" in text and "-150 to 250" in text
    assert main(["inspect", annotation, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["axis"] == 0 and {4, 6} >= set(facts["segments"][0]["painted_slices"])
    command = ["propagate", volume, annotation, "-q", "--steps", "0", "--encoder", "tiny"]
    command += ["-o", str(tmp_path / "out.seg.nrrd"), "--save-model", str(tmp_path / "m.fewshot")]
    assert main(command) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "m.fewshot")]) == 0
    assert "few-shot model" in (text := capsys.readouterr().out) and "liver" in text and "-150 to 250 (" in text
    (tmp_path / "scene.mrb").write_bytes(b"PK\3\4")
    assert main(["inspect", str(tmp_path / "scene.mrb")]) == 2
    assert capsys.readouterr().err.count("error: ") == 1
