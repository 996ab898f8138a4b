"""Every method can be chosen, predicts, is saved, applied to another volume and continued from."""

import sys
from typing import Any

import numpy as np
import pytest
from engine.conftest import Heard

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import Hint
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.methods.registry import METHOD_NAMES
from FewShotSAMLib.worker.failures import as_known_error

AUTOSAM = ("autosam-vit", "autosam-cnn", "autosam-linear")
SOLVED = "pixel-classifier"


@pytest.mark.parametrize("method", [*AUTOSAM, SOLVED])
def test_a_model_of_each_method_gives_the_same_result_when_applied(case: Any, method: str) -> None:
    model = str(case.folder / "m.fewshot")
    context = JobContext()
    steps = 0 if method == SOLVED else 4
    report = case.run(context, method=method, steps=steps, save_model=model)
    assert report["training"]["method"] == method
    case.check_known_slices()
    applied = case.apply(model, context)
    assert applied["training"] == {"method": method}
    unseen = [5, 6, 7, 9, 10, 11]  # before slice 4 the painted slices rule out the spleen, which the model cannot know
    assert [applied["slices"][index] for index in unseen] == [report["slices"][index] for index in unseen]
    steps = min(steps, 1)
    warm = case.run(context, method=method, steps=steps, augmented_copies=0, warm_start=model)
    assert warm["training"]["warm"]


@pytest.mark.parametrize("volume", ["guided", "guided_mr"], ids=["CT", "MR"])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_method_learns_with_the_encoder_that_comes_along(
    request: pytest.FixtureRequest, method: str, volume: str
) -> None:
    case = request.getfixturevalue(volume)
    context, asked = JobContext(), {"method": method, "range": [3, 5]}
    steps = 0 if method == SOLVED else 4
    report = case.run(context, **asked, steps=steps)
    assert report["encoder"]["name"] == "tiny"
    first = report["training"]["loss"]
    assert report["training"]["steps"] == steps and np.isfinite(first)
    predicted = [row["index"] for row in report["slices"] if row["origin"] == "predicted"]
    assert predicted == [index for index in (3, 4, 5) if index not in case.painted]
    case.check_known_slices()
    if method == "autosam-vit":
        last = case.run(context, **asked, steps=60)["training"]["loss"]
        assert last < 0.8 * first


@pytest.mark.usefixtures("full_size")
@pytest.mark.parametrize(
    ("encoder", "good"),
    [("guided", {"liver": 0.8, "spleen": 0.7}), ("case", {"liver": 0.65})],  # the spleen is small for random weights
)
def test_the_pixel_classifier_answers_at_once(
    request: pytest.FixtureRequest, encoder: str, good: dict[str, float]
) -> None:
    """Two segments without a training step, with the same result each time."""
    case = request.getfixturevalue(encoder)
    context, found = JobContext(), []
    for _ in range(2):
        report = case.run(context, method=SOLVED, steps=None, augmented_copies=None)
        assert report["training"]["steps"] == 0 < report["training"]["loss"] < 0.5
        found.append(case.result())
    np.testing.assert_array_equal(found[0].layers, found[1].layers)
    for name, least in good.items():
        (wanted,) = (each for each in case.truth.segments if each.name == name)
        (segment,) = (each for each in found[0].segments if each.name == name)
        assert dice(found[0].mask(segment)[9:], case.truth.mask(wanted)[9:]) > least


def test_without_scikit_learn_one_line_says_what_to_do(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported before anything is encoded."""
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    context = Heard()
    with pytest.raises(ModuleNotFoundError) as caught:
        case.run(context, method=SOLVED, steps=None)
    assert context.stages[-1] == "load"
    known = as_known_error(caught.value)
    assert known is not None and "scikit-learn" in known.message
    assert isinstance(known.hint, Hint) and known.hint.code == "install-packages"


@pytest.mark.parametrize("option", [{"steps": 5}, {"fresh_augmentation": True}])
def test_the_pixel_classifier_has_no_steps_to_choose(case: Any, option: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="solved at once"):
        case.run(**{"method": SOLVED, "steps": None, **option})


def test_applying_a_model_of_a_region_is_told_to_be_rough(guided: Any) -> None:
    """Except for few-shot, whose model stores the exemplars as whole slices show them."""
    model, context = str(guided.folder / "m.fewshot"), JobContext()
    guided.run(context, method="autosam-linear", steps=1, range=[5, 5], save_model=model)
    guided.apply(model, context, range=[5, 5])
    assert any("region" in warning and "vit_b" in warning for warning in context.warnings)


def test_code_faithful_is_kept_with_the_model(case: Any) -> None:
    for faithful in (True, False):
        model = str(case.folder / f"{faithful}.fewshot")
        case.run(method="autosam-linear", steps=1, code_faithful=faithful, save_model=model)
        assert (b'code_faithful\\": true' in (case.folder / f"{faithful}.fewshot").read_bytes()) == faithful
    with pytest.raises(BadInputError, match="published"):
        case.run(code_faithful=True)


def test_a_warm_start_from_another_method_or_other_segments_is_refused(case: Any) -> None:
    model = str(case.folder / "m.fewshot")
    case.run(method="autosam-linear", steps=1, save_model=model)
    with pytest.raises(BadInputError, match="--method autosam-linear"):
        case.run(warm_start=model)
    one = keep_slices(case.truth, 0, (4, 8), ("liver",))
    with pytest.raises(BadInputError, match="2 segment"):
        case.run(method="autosam-linear", warm_start=model, **case.painted_as(one))


def test_an_unknown_method_lists_all_and_a_damaged_model_is_told(case: Any) -> None:
    with pytest.raises(BadInputError, match="magic") as caught:
        case.run(method="magic")
    assert all(name in caught.value.hint for name in METHOD_NAMES)
    model = case.folder / "m.fewshot"
    case.run(method="autosam-linear", steps=1, save_model=str(model))
    model.write_bytes(model.read_bytes().replace(b"code_faithful", b"kode_faithful"))
    with pytest.raises(BadInputError, match="not a few-shot model"):
        case.run(method="autosam-linear", warm_start=str(model))
