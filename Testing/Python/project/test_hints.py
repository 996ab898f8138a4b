"""Each front end has its own words for every hint, and users without a command line never see its words."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from FewShotSAMLib.core.errors import BadInputError, MemoryShortageError
from FewShotSAMLib.core.hints import CLI_WORDS, Hint, hint
from FewShotSAMLib.core.packages import import_package
from FewShotSAMLib.web.hints import BROWSER_WORDS
from FewShotSAMLib.widgets.hints import PANEL_WORDS
from FewShotSAMLib.worker.client import error_of
from FewShotSAMLib.worker.failures import failure_event
from FewShotSAMLib.worker.protocol import encode, error_event, parse_event
from FewShotSAMLib.workflow.message import message_of

LIBRARY = Path(__file__).resolve().parents[3] / "FewShotSAMLib"
COMMAND_LINE = re.compile(
    r"(?<![\w-])--[a-z]|pip install|“fewshotsam |fewshotsam (models|doctor|propagate|apply|web)\b"
)
ONLY_THERE = {
    *("core/hints.py", "widgets/dependencies.py", "options.py", "demo.py", "web/options.py", "web/server.py"),
    *("cohort/plan.py", "cohort/find.py", "cohort/running.py", "cohort/ray_pool.py"),
}
"""The command line's own words and help, its plans of cohorts, what is said before a browser is there, and how to fill
a folder of wheels on another computer; besides the folders of ITS_FOLDERS."""
ITS_FOLDERS = ("cli", "benchmark")


@pytest.mark.parametrize("words", [PANEL_WORDS, BROWSER_WORDS], ids=["panel", "browser"])
def test_panel_and_browser_have_words_without_a_command_line(words: dict[str, str]) -> None:
    assert words.keys() == CLI_WORDS.keys()
    for code, text in words.items():
        assert not COMMAND_LINE.search(text) and "terminal command" not in text, code
        assert text[0].isupper() and text.endswith("."), code
        needs = set(re.findall(r"{(\w+)}", text))
        assert needs <= set(re.findall(r"{(\w+)}", CLI_WORDS[code])) | {"file", "source", "encoder"}, code


def _uses(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Return code and value names of each hint created in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "hint" and node.args:
            assert isinstance(node.args[0], ast.Constant)
            yield str(node.args[0].value), {str(each.arg) for each in node.keywords}


def test_every_hint_is_used_and_has_the_values_that_all_words_need() -> None:
    uses = [use for path in LIBRARY.rglob("*.py") for use in _uses(path)]
    assert {code for code, _ in uses} == CLI_WORDS.keys()
    for code, values in uses:
        for words in (CLI_WORDS, PANEL_WORDS, BROWSER_WORDS):
            words[code].format(**dict.fromkeys(values, "x"))


def test_no_text_of_the_library_speaks_of_the_command_line() -> None:
    """Messages, hints and warnings: any front end may show what is raised or reported below it."""
    found = []
    for path in LIBRARY.rglob("*.py"):
        name = path.relative_to(LIBRARY).as_posix()
        if name in ONLY_THERE or name.startswith(ITS_FOLDERS):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if id(node) not in docs and " " in text and COMMAND_LINE.search(text):
                found.append(f"{name}:{node.lineno}: {text}")
    assert not found, found


def test_a_hint_travels_with_its_code_and_each_front_end_words_it() -> None:
    error = BadInputError("The model file is not there.", hint("get-model", encoder="vit_b"))
    assert "fewshotsam models download vit_b" in str(error)
    event = parse_event(encode(failure_event("r1", error, None)))
    assert event is not None and event["code"] == "get-model" and event["values"] == {"encoder": "vit_b"}
    message = message_of(error_of(event))
    assert "Press Download under Advanced" in message.worded(PANEL_WORDS)
    assert "whoever runs the server" in message.worded(BROWSER_WORDS)
    assert "--checkpoint" in str(message)


def test_memory_and_packages_have_codes_too() -> None:
    events = [failure_event("r1", each, None) for each in (MemoryError(), ModuleNotFoundError("", name="sklearn"))]
    assert [each["code"] for each in events] == ["free-memory", "install-packages"]
    assert "scikit-learn" in events[1]["message"]
    assert isinstance(error_of(events[0]), MemoryShortageError)


def test_a_reader_that_is_missing_has_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nibabel", "nibabel.nifti1"):  # another test may have imported it
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadInputError, match=r"NIfTI .* pip install nibabel") as caught:
        import_package("nibabel.nifti1")
    assert isinstance(caught.value.hint, Hint)
    for words in (PANEL_WORDS, BROWSER_WORDS):
        assert ".nrrd" in caught.value.hint.worded(words)


def test_a_hint_of_another_version_is_its_text() -> None:
    event = error_event("r1", "bad_input", "So it is.", "Do this.") | {"code": "of-tomorrow", "values": {}}
    assert error_of(event).hint == "Do this."
    assert isinstance(error_of(error_event("r1", "bad_input", "So.", hint("another-device"))).hint, Hint)
