"""`fewshotsam doctor` reports what is broken, and does not break itself."""

import importlib.util
import sys
from pathlib import Path

import pytest

from FewShotSAMLib.cli.doctor import probe_packages


def probe(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> dict[str, str]:
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return {finding.name: f"{finding.text} {finding.problem}" for finding in probe_packages(names)}


def test_missing_broken_and_crashing_packages_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_one.py").write_text("import no_such_library\n")
    (tmp_path / "crashing_one.py").write_text("import os\nos.abort()\n")
    (tmp_path / "torch.py").write_text("raise OSError('libcuda: wrong')\n")
    (tmp_path / "fine_one.py").write_text("print('hello')\n")
    (tmp_path / "fine_one-1.2.dist-info").mkdir()
    (tmp_path / "fine_one-1.2.dist-info" / "METADATA").write_text("Name: fine-one\nVersion: 1.2\n")
    found = probe(tmp_path, monkeypatch, "crashing_one", "torch", "broken_one", "absent_one", "fine_one")
    assert "crashes Python" in found["crashing_one"] and "pip install crashing_one" in found["crashing_one"]
    assert "OSError: libcuda: wrong" in found["torch"] and "fewshotsam[engine]" in found["torch"]
    assert "cannot be imported" in found["broken_one"]
    assert "is not installed" in found["absent_one"]
    assert found["fine_one"] == "1.2 "


def test_a_python_that_does_not_run_is_reported(tmp_path: Path) -> None:
    findings = probe_packages(("numpy",), python=str(tmp_path / "no-python"))
    assert [finding.name for finding in findings] == ["Python"] and findings[0].problem


def test_the_exit_code_and_the_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from FewShotSAMLib.cli import doctor as cli_doctor
    from FewShotSAMLib.cli import main

    monkeypatch.setattr(cli_doctor, "ENGINE", ("torch", "h5py"))
    code = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert code == int(any(line.startswith("PROBLEM") for line in lines))
    words = ["FewShotSAM", "Python", sys.executable, "numpy", "torch", "cores", "GB free", "vit_b", "cache"]
    if importlib.util.find_spec("torch"):
        words.append("device")
    for word in words:
        assert word in text
