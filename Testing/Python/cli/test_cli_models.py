"""`fewshotsam models`: the confirmation before a download, the list, the check."""

import dataclasses
import hashlib
import io
from pathlib import Path

import pytest

from FewShotSAMLib.cli import main
from FewShotSAMLib.cli import models as cli_models
from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.registry import EncoderSpec, get_spec

CONTENT = b"weights" * 1000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces vit_b by a small file, without network: a download is only recorded here."""
    names: list[str] = []
    digest = hashlib.sha256(CONTENT).hexdigest()
    spec = dataclasses.replace(get_spec("vit_b"), size_bytes=len(CONTENT), sha256=digest)

    def fetch(spec: EncoderSpec, **options: object) -> Path:
        names.append(spec.name)
        path = model_files.model_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        return path

    monkeypatch.setattr(cli_models.fetch, "download", fetch)
    monkeypatch.setattr(cli_models, "get_spec", lambda name: spec if name == "vit_b" else get_spec(name))
    return names


def test_a_download_shows_all_and_asks(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_folders: Path
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert main(["models", "download", "vit_b"]) == 4
    captured = capsys.readouterr()
    spec = get_spec("vit_b")
    facts = (spec.licence, spec.licence_url, spec.url, str(own_folders))
    for word in ("Segment Anything", "vit_b", " MB", *facts, "[y/N]"):
        assert word in captured.out
    assert captured.err == "error: Nothing was downloaded.\n"
    assert fetched == []
    for nothing in ("\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(nothing))
        assert main(["models", "download", "vit_b"]) == 4
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert main(["models", "download", "vit_b"]) == 0
    assert fetched == ["vit_b"]
    assert main(["models", "download", "vit_b"]) == 0
    assert fetched == ["vit_b"], "it was here already"


def test_a_script_has_to_agree_by_an_option(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["models", "download", "vit_b"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert fetched == []
    assert main(["models", "download", "vit_b", "--yes"]) == 0
    assert fetched == ["vit_b"]


def test_unknown_and_built_in_encoders(fetched: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "vit_x"]) == 2
    assert "vit_b" in capsys.readouterr().err
    assert main(["models", "download", "tiny", "--yes"]) == 0
    assert fetched == []


def test_list_and_verify(capsys: pytest.CaptureFixture[str], own_folders: Path) -> None:
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    for name in ("tiny", "vit_b", "vit_l", "vit_h", "medsam", "375 MB", "not downloaded", str(own_folders)):
        assert name in listed
    assert main(["models", "verify"]) == 0
    assert main(["models", "verify", "vit_l"]) == 2
    assert "models download vit_l" in capsys.readouterr().err
    path = model_files.model_path(get_spec("vit_l"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not it")
    assert main(["models", "verify"]) == 2
    assert "damaged" in capsys.readouterr().err
