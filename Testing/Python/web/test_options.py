"""What `fewshotsam web` accepts, and what it prints."""

import sys
from pathlib import Path

import pytest

from FewShotSAMLib.cli import main
from FewShotSAMLib.cli.parser import build_parser
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.web import options
from FewShotSAMLib.web.options import PYTHON_VARIABLE, SECRET_VARIABLE, WebOptions, web_options, worker_python


def given(volume: Path | None, environment: dict[str, str] | None = None, **more: str) -> WebOptions:
    """Options with a Python that exists."""
    return web_options(
        None if volume is None else str(volume), python=sys.executable, environment=environment or {}, **more
    )


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A file that stands in for a volume."""
    path = tmp_path / "ct.nrrd"
    path.write_text("x")
    return path


def test_only_this_computer_by_default_and_a_new_secret_each_time(volume: Path) -> None:
    first, second = given(volume), given(volume)
    assert first.host == "127.0.0.1" and not first.is_public
    assert first.secret != second.secret and first.secret in first.address(1234)
    assert first.address(1234).startswith("http://127.0.0.1:1234/?token=")


def test_a_server_for_others_has_a_secret_too(volume: Path) -> None:
    chosen = given(volume, host="0.0.0.0")
    assert chosen.is_public and len(chosen.secret) >= 40
    assert "<name of this computer>" in chosen.address(80)


def test_a_secret_of_ones_own_is_never_printed(volume: Path) -> None:
    chosen = given(volume, {SECRET_VARIABLE: "correct horse battery"}, host="0.0.0.0")
    assert chosen.secret == "correct horse battery"
    assert "horse" not in chosen.address(80) and "token" not in chosen.address(80)


@pytest.mark.parametrize("secret", ["", "short"])
def test_a_secret_that_can_be_guessed_is_refused(volume: Path, secret: str) -> None:
    with pytest.raises(BadInputError, match="fewer than 12"):
        given(volume, {SECRET_VARIABLE: secret})


def test_the_served_folder(volume: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert given(volume).folder.path == tmp_path.resolve()
    assert given(volume, data=str(other)).folder.path == other.resolve()
    assert given(None, data=str(other)).volume is None
    with pytest.raises(BadInputError, match="Neither"):
        given(None)
    with pytest.raises(BadInputError, match="does not exist"):
        given(tmp_path / "missing.nrrd")


def test_the_python_that_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "python"
    named.write_text("")
    assert worker_python(str(named), {}) == named
    assert worker_python(None, {PYTHON_VARIABLE: str(named)}) == named
    with pytest.raises(BadInputError, match="no Python at"):
        worker_python(str(tmp_path / "missing"), {})
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda name: object())
    assert worker_python(None, {}) == Path(sys.executable)
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(options, "PACKAGE_PARENT", tmp_path)
    with pytest.raises(BadInputError, match="make demo"):
        worker_python(None, {})
    beside = tmp_path / ".venv" / "bin" / "python"
    beside.parent.mkdir(parents=True)
    beside.write_text("")
    assert worker_python(None, {}) == beside


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_ports_are_checked(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["web", "ct.nrrd", "--port", port])
    assert "port from 0 to 65535" in capsys.readouterr().err


def test_without_trame_slicer_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], volume: Path
) -> None:
    from FewShotSAMLib.cli import web

    monkeypatch.setattr(web.importlib.util, "find_spec", lambda name: None)
    assert main(["web", str(volume)]) == 2
    assert "pip install 'trame-slicer[standalone]==2.0.0'" in capsys.readouterr().err
