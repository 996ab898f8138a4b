"""How continuous integration gets 3D Slicer: which package it takes, for every machine."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def with_slicer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("with_slicer", ROOT / ".ci" / "with_slicer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_preview_belongs_to_no_release(with_slicer: ModuleType) -> None:
    """As the package server answers, newest first; see its package model and the download site that reads it."""
    answer = [
        {"_id": "a", "meta": {"release": "5.12.3", "pre_release": False}},
        {"_id": "b", "meta": {"pre_release": True}},
        {"_id": "c", "meta": {"release": "", "pre_release": False}},
        {"_id": "d", "meta": {"release": "5.10.0"}},
    ]
    chosen = [with_slicer.newest(answer, version) for version in ("preview", "5.12.3", "5.10.0", "5.11.0")]
    assert chosen == ["b", "a", "d", None]


def test_the_matrix_has_three_systems_and_three_versions() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.search(r"os: \[ubuntu-latest, windows-latest, macos-latest\]\n +version: \[(.+)\]", workflow)
    for path in set(re.findall(r"(?:Testing|Resources|\.ci)/[\w/.*-]+", workflow)):
        assert list(ROOT.glob(path)), f"{path} is not there"


def test_an_unknown_command_runs_nothing(with_slicer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_slicer, "test", lambda place: pytest.fail("ran the tests"))
    with pytest.raises(SystemExit, match="test-engine FOLDER"):
        with_slicer.main("engine", "slicer")


def test_every_system_has_its_programs(with_slicer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for system, expected in {
        "Linux": ("Slicer", "bin/PythonSlicer"),
        "Windows": ("Slicer.exe", "bin/PythonSlicer.exe"),
        "Darwin": ("Slicer.app/Contents/MacOS/Slicer", "Slicer.app/Contents/bin/PythonSlicer"),
    }.items():
        monkeypatch.setattr(with_slicer.platform, "system", lambda system=system: system)
        assert tuple(path.as_posix() for path in with_slicer.programs(Path())) == expected
