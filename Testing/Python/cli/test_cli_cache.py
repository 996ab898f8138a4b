"""`fewshotsam cache` on a folder with real files and files set aside."""

from pathlib import Path

import pytest

from FewShotSAMLib.cli import main
from FewShotSAMLib.sam.cache import EmbeddingCache


def fill(folder: Path | None = None) -> EmbeddingCache:
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("h5py")
    cache = EmbeddingCache(folder)
    with cache.open("abcdef0123456789", "tiny", 4, (8, 4, 4)) as store:
        store.write(0, numpy.ones((8, 4, 4)))
    (cache.folder / "fedcba.h5.damaged-20200101").write_bytes(b"x" * 2_000_000)
    return cache


def test_info_and_clear(capsys: pytest.CaptureFixture[str], own_folders: Path) -> None:
    cache = fill()
    assert main(["cache", "info"]) == 0
    out = capsys.readouterr().out
    assert str(own_folders / "cache") in out and "abcdef012345" in out and "20.000 GB" in out
    assert "damaged" in out
    assert main(["cache", "clear"]) == 0
    assert "Freed 0.00" in capsys.readouterr().out
    assert cache.usage() == 0
    assert main(["cache", "clear", "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], own_folders: Path) -> None:
    usual, other = fill(), fill(tmp_path / "größer")
    assert main(["cache", "clear", "--cache", str(tmp_path / "größer")]) == 0
    assert other.usage() == 0 and usual.usage() > 0


def test_a_wrong_limit_of_the_cache_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEWSHOTSAM_CACHE_LIMIT_GB", "plenty")
    assert main(["cache", "info"]) == 2
    assert "plenty" in capsys.readouterr().err
