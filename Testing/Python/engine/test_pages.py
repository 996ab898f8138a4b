"""What the pages for programmers show runs exactly as printed: the notebook, and CONTRIBUTING's method."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from FewShotSAMLib import methods, options
from FewShotSAMLib.bundled import few_shot
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.methods import registry
from FewShotSAMLib.methods.registry import Entry
from FewShotSAMLib.options import OPTIONS

ROOT = Path(__file__).resolve().parents[3]
LONGEST_EXERCISE = 40


def test_the_notebook_goes_from_painting_to_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "SCHEDULE", replace(few_shot.SCHEDULE, steps=60))  # to limit its time
    notebook = json.loads((ROOT / "docs" / "propagate.ipynb").read_text(encoding="utf-8"))
    matplotlib.use("agg")
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are left out: they would go stale"
            exec("".join(cell["source"]), names)
    assert names["dice"] > 0.85
    names["figure"].canvas.draw()
    assert np.asarray(names["figure"].canvas.buffer_rgba()).std() > 20
    matplotlib.pyplot.close(names["figure"])


@pytest.fixture
def exercise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """Adds the method that CONTRIBUTING.md adds."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    module, line = re.findall(r"```(?:python|text)\n(.*?)```", page, re.DOTALL)
    assert module.count("\n") <= LONGEST_EXERCISE
    entry: Entry = eval(line.strip().rstrip(","))
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / f"{entry.place.partition(':')[0]}.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.setattr(registry, "METHODS", (*registry.METHODS, entry))
    known = [replace(each, choices=(*each.choices, entry.name)) if each.name == "method" else each for each in OPTIONS]
    monkeypatch.setattr(options, "OPTIONS", known)  # as made from the registry when the process starts
    return entry


def test_a_method_is_added_by_one_file_and_one_line(guided: Any, exercise: Entry) -> None:
    model, context = str(guided.folder / "m.fewshot"), JobContext()
    report = guided.run(context, method=exercise.name, save_model=model, steps=None, augmented_copies=None)
    assert report["training"] == {"method": exercise.name, "steps": 0, "loss": None, "warm": False}
    result = guided.result().layers[0]
    for index, nearest in ((3, 4), (5, 4), (7, 8), (11, 8)):
        copied, painted = result[index] > 0, guided.drawn.layers[0, nearest] > 0
        assert 2 * (copied & painted).sum() / (copied.sum() + painted.sum()) > 0.9
    guided.apply(model, context)
    assert (guided.result("again.seg.nrrd").layers > 0).any()
