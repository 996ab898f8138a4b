"""The workflow's messages reach users in their language, although the workflow itself translates nothing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from FewShotSAMLib.core.facts import Fact
from FewShotSAMLib.widgets import translation, workflow_texts

LIBRARY = Path(workflow_texts.__file__).parents[1]
# Names, and the log.
NO_SENTENCES = re.compile(r"FewShotSAM preview|Background process .* is ready.*|\{0\} segmentation")
FOR_SCRIPTS = "scripting.py"  # raised into the user's own code, never shown in the panel


def texts(tree: ast.AST) -> Iterator[str]:
    """Return literals that read like a sentence or a step's name; f-strings with {0}, {1}... for their values."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in parts:
            text = template(node).strip()
            sentence = re.match(r"[A-Z][a-z]+ .*[a-z]", text, re.DOTALL)
            if sentence or re.match(r"['“]?\{0\}['”]? [a-z]+ [a-z]+ .*[.]", text):
                yield text


def template(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    values, written = 0, ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            written += str(part.value)
        else:
            written += f"{{{values}}}"
            values += 1
    return written


@pytest.mark.parametrize("folder", ["workflow", "mrml"])
def test_all_that_is_said_can_be_translated(folder: str) -> None:
    paths = [path for path in sorted((LIBRARY / folder).glob("*.py")) if path.name != FOR_SCRIPTS]
    said = {text for path in paths for text in texts(ast.parse(path.read_text("utf-8")))}
    assert len(said) > 10
    assert {text for text in said if text not in workflow_texts.TEXTS and not NO_SENTENCES.fullmatch(text)} == set()


def test_no_text_is_translated_in_vain() -> None:
    everywhere = [path for path in LIBRARY.rglob("*.py") if path.parent.name != "widgets"]
    sources = [path.read_text("utf-8") for path in everywhere]
    joined = re.sub(r'"\s+f?"', "", "\n".join(sources)).replace("\\u00a0", "\u00a0")
    for text in workflow_texts.TEXTS:
        longest = max(re.split(r"\{\d\}", text), key=len).strip()
        assert longest in joined, text


def test_slicers_tools_find_them() -> None:
    """They search (update_translations.py) for an underscore called with nothing but a literal."""
    source = Path(workflow_texts.__file__).read_text("utf-8")
    found = re.findall(r'[^_]_\((\s*?".+?"\s*?)\)', source, flags=re.DOTALL)
    read = {ast.literal_eval(f"({text.strip()})") for text in found}
    assert {*workflow_texts.TEXTS, *workflow_texts.FACT_TEXTS} <= read


GERMAN = {
    "{0} slices were written.": "{0} Schichten wurden geschrieben.",
    "The result was not applied: {0}": "Das Ergebnis wurde nicht übernommen: {0}",
    "The volume is no longer in the scene.": "Das Volumen ist nicht mehr in der Szene.",
    "The {0} was removed, so {1} was discarded.": "{1} endet, denn {0} fehlt.",
    "Modality": "Modalität",
    "colour volume": "Farbbild",
    "{0} ({1})": "{0}: {1}",
    "Segment {0}": "Segment Nr. {0}",
}


@pytest.fixture
def german(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(translation, "_", lambda text: GERMAN.get(text, text))
    workflow_texts._translations.cache_clear()
    yield
    workflow_texts._translations.cache_clear()


@pytest.mark.usefixtures("german")
def test_values_are_put_into_the_translation() -> None:
    assert workflow_texts.translated("12 slices were written.") == "12 Schichten wurden geschrieben."
    inner = workflow_texts.translated("The result was not applied: The volume is no longer in the scene.")
    assert inner == "Das Ergebnis wurde nicht übernommen: Das Volumen ist nicht mehr in der Szene."
    assert workflow_texts.translated("The volume was removed, so X was discarded.") == "X endet, denn volume fehlt."
    assert workflow_texts.translated("Something else {0} (*.") == "Something else {0} (*."


@pytest.mark.usefixtures("german")
def test_facts_are_told_in_the_users_language() -> None:
    modality, segment = (
        Fact("Modality", "{0} ({1})", ("RGB", "colour volume")),
        Fact("Segment 3", "{0}, {1} voxels", ("x", "9")),
    )
    assert workflow_texts.factWords(modality) == ("Modalität", "RGB: Farbbild")
    assert workflow_texts.factWords(segment) == ("Segment Nr. 3", "x, 9 voxels")


def test_every_label_and_text_of_a_fact_can_be_translated() -> None:
    """They are looked up verbatim: one that is worded differently in core would stay English."""
    known, tree = set(workflow_texts.FACT_TEXTS), ast.parse((LIBRARY / "core" / "facts.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Fact"]
    given = {
        node.value
        for call in calls
        for part in call.args[:2]
        for node in ast.walk(part)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(calls) > 10 and given - known == {"", "{0}", "oblique"}
    assert known <= given
