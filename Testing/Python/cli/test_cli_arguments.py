"""The command line's answers to wrong arguments, and its help."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from FewShotSAMLib.cli import main
from FewShotSAMLib.cli.parser import build_parser
from FewShotSAMLib.cli.propagate import job_parameters
from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.worker.process import worker_environment


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("", "COMMAND"),
        ("juggle", "juggle"),
        ("propagate a b", "-o"),
        ("propagate a b -o c --axis 3", "0, 1, 2"),
        ("propagate a b -o c --empty-slices 3,x", "3,x"),
        ("propagate a b -o c --empty-slices 9-3", "9-3"),
        ("propagate a b -o c --empty-of 9", "Spleen=3,40"),
        ("propagate a b -o c --empty-of liver=x", "liver=x"),
        ("propagate a b -o c --empty-slices -3", "--empty-slices"),
        ("propagate a b -o c --range 9,3", "9,3"),
        ("propagate a b -o c --method magic", "few-shot"),
        ("propagate a b -o c --device gpu", "cuda"),
        ("propagate a b -o c --steps -1", "--steps"),
        ("propagate a b -o c --smooth-mm nan", "nan"),
        ("propagate a b -o c --cache d --no-cache", "--no-cache"),
        ("propagate a b -o c --see 1", "--see"),
        ("models", "list"),
        ("models download", "NAME"),
        ("cache explode", "explode"),
        ("benchmark --tasks t.toml", "--output"),
        ("benchmark --output o --k 3,x", "3,x"),
        ("benchmark --output o --jobs none", "none"),
    ],
)
def test_wrong_arguments_are_one_line_and_code_2(arguments: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert word in captured.err and "--help" in captured.err


@pytest.mark.parametrize(
    "command",
    [
        *("", "propagate", "apply", "models", "models list", "models download", "models verify", "cache info"),
        *("demo", "benchmark", "doctor"),
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command.split(), "--help"])
    assert exit_.value.code == 0
    assert f"usage: fewshotsam {command}".strip() in capsys.readouterr().out


def test_the_help_lists_every_method_and_counts_slices_from_zero(capsys: pytest.CaptureFixture[str]) -> None:
    for command, methods in (("propagate", METHODS), ("apply", ())):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        assert "begin with 0" in shown
        assert all(method.name in shown and method.title in shown for method in methods)


def test_what_is_said_of_the_method_reaches_the_job() -> None:
    options = "propagate a b -o c --method cheap-lunch --contact-sheet pairs.png --code-faithful --fresh-augmentation"
    parameters = job_parameters(build_parser().parse_args(options.split()))
    assert parameters["method"] == "cheap-lunch" and parameters["contact_sheet"] == str(Path("pairs.png").absolute())
    assert parameters["code_faithful"] is True and parameters["fresh_augmentation"] is True
    assert "code_faithful" not in job_parameters(build_parser().parse_args(["propagate", "a", "b", "-o", "c"]))


def test_python_m_is_the_command_line() -> None:
    command = [sys.executable, "-m", "FewShotSAMLib", "--version"]
    process = subprocess.run(command, env=worker_environment(), capture_output=True, check=True)
    assert process.stdout.startswith(b"fewshotsam ")


def failing(error: Exception) -> Callable[[object], int]:
    def fail(options: object) -> int:
        raise error

    return fail


def test_a_bug_of_the_command_has_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.cli.models.list_models", failing(ZeroDivisionError("oops")))
    assert main(["models", "list"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: ZeroDivisionError: oops") and line.count("\n") == 1
    assert "Traceback" in Path(line.rpartition("Log: ")[2].strip()).read_text(encoding="utf-8")


def test_a_missing_package_says_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.cli.models.list_models", failing(ModuleNotFoundError("", name="h5py")))
    assert main(["models", "list"]) == 2
    assert "pip install 'fewshotsam[engine]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect ''", "propagate '' b -o c", "propagate a '' -o c", "web ''"])
def test_an_unset_variable_is_not_this_folder(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)) == 2
    assert "is empty" in capsys.readouterr().err


def test_help_of_the_benchmark_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    from FewShotSAMLib.benchmark import METHODS as CONTENDERS

    with pytest.raises(SystemExit):
        build_parser().parse_args(["benchmark", "--help"])
    text = "".join(capsys.readouterr().out.split())
    names = {name.removeprefix("few-shot-without-").removesuffix("-given") for name in CONTENDERS}
    assert {name for name in names if name not in text} == set()
