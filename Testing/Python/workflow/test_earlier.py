"""Earlier patients' models together with painted slices, with the real background process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import column
import pytest
from warm import WarmClient
from workflow.conftest import STEPS, ArrayScene, Stage, opened

from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.segment import matching_names
from FewShotSAMLib.workflow import Review
from FewShotSAMLib.workflow.earlier import GONE, WITHOUT_IMAGE


def patient(shift: int, client: WarmClient, folder: Path) -> Stage:
    scene = ArrayScene(column.SHAPE)
    scene.voxels, scene.truth = column.patient(shift)
    for index in column.PAINTED if not shift else (column.ONLY,):
        scene.paint(index)
    return opened(scene, client, folder)


@pytest.fixture
def next_patient(warm_client: WarmClient, tmp_path: Path) -> Iterator[Stage]:
    """The first patient is segmented and saved as “first”; one slice of the next one is painted."""
    warm_client.steps = STEPS
    first = patient(0, warm_client, tmp_path)
    for index in column.EMPTY:
        first.session.set_empty(index, True)
    first.settle()
    first.propagate()
    first.session.save_model("first")
    assert "with the image" in first.messages[-1].text
    first.session.close()
    made = patient(column.SHIFT, warm_client, tmp_path)
    yield made
    made.session.close()


def quality(stage: Stage) -> float:
    return dice(*map(column.unpainted, (stage.scene.previews[-1].shown == 1, stage.scene.truth)))


def test_an_earlier_patient_stands_beside_what_is_painted(next_patient: Stage, warm_client: WarmClient) -> None:
    session = next_patient.session
    (offered,) = session.earlier_models(session.models.entries())
    assert (offered.name, offered.is_chosen, offered.why_not) == ("first", False, "")
    next_patient.propagate()
    alone = quality(next_patient)
    assert session.review is not None and not session.review.earlier
    session.choose_earlier("first")
    assert session.earlier_models(session.models.entries())[0].is_chosen and not session.work(24).continues
    next_patient.propagate()
    assert quality(next_patient) > alone + 0.1 and quality(next_patient) > 0.85
    assert "from the start" in session.review.summary
    (sentence,) = session.review.earlier
    assert sentence.startswith("The few-shot model “first” was used") and "Segment a 0.9" in sentence
    next_patient.scene.paint(15)
    next_patient.edited()
    assert session.work(24).continues and not session.work(24).corrects
    next_patient.propagate()
    assert session.review.corrected is None and not session.review.can_improve
    assert warm_client.reports[-1]["training"]["warm"] and session.review.earlier
    for name in ("liver of May", "first"):
        session.rename_model(session.models.entries()[0], name)
        assert session.earlier == (name,) and not session.why_not(), "it stays chosen"
    session.save_model("second")
    assert {each.name: each.images for each in session.models.entries()} == {"first": 1, "second": 2}
    assert "and of earlier patients" in next_patient.messages[-1].text
    session.choose_earlier("first", False)
    next_patient.propagate()
    assert not session.review.earlier and "from the start" in session.review.summary
    session.choose_earlier("second")
    (second,) = [each for each in session.models.entries() if each.name == "second"]
    session.delete_model(second)
    assert session.earlier == () and not session.why_not()
    assert not next_patient.errors


def test_a_model_of_no_use_says_so(next_patient: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    session = next_patient.session
    (known,) = session.models.entries()
    others = tuple(replace(each, name=f"{name} of another") for each in known.segments for name in "ab")
    made = [replace(known, name="blank", images=0), replace(known, name="others", segments=others)]
    monkeypatch.setattr(session.models, "entries", lambda: made)
    monkeypatch.setattr(session.models, "find", lambda name: None if name == "lost" else known.path)
    session.choose_earlier("blank")
    session.choose_earlier("lost")
    blank, elsewhere, lost = session.earlier_models(session.models.entries())
    assert (blank.why_not, lost.why_not) == (WITHOUT_IMAGE, GONE) and lost.name == "lost"
    assert "a of another, b of another" in elsewhere.why_not and "Segment a" in elsewhere.why_not
    assert "“lost” is no longer there" in session.why_not() and "Untick" in session.why_not()
    session.propagate()
    assert "“lost”" in next_patient.messages[-1].text and not session.is_busy
    session.choose_earlier("lost", False)
    assert session.why_not() == "" and session.earlier == ("blank",)


def test_what_is_saved_after_a_range_is_told_to_be_of_no_use_for_it(next_patient: Stage) -> None:
    session = next_patient.session
    session.range = (11, 13)
    next_patient.propagate()
    session.save_model("part")
    assert "without the image" in next_patient.messages[-1].text and "all slices" in str(next_patient.messages[-1].hint)
    part, _ = session.earlier_models(session.models.entries())
    assert part.why_not == WITHOUT_IMAGE


def test_a_method_without_use_for_them_says_what_to_choose(next_patient: Stage) -> None:
    session = next_patient.session
    session.settings = replace(session.settings, method="autosam-linear")
    session.choose_earlier("first")
    session.propagate()
    next_patient.until(lambda: not session.is_busy)
    assert next_patient.messages[-1].level == "error" and "painted slices alone" in next_patient.messages[-1].text
    assert getattr(next_patient.messages[-1].hint, "code", "") == "no-earlier"


def test_names_are_the_same_whatever_the_case_or_where_there_is_one_of_each() -> None:
    assert matching_names(["Liver", "spleen"], ["SPLEEN", "liver", "Liver"]) == {1: 2, 2: 1}
    assert matching_names(["Segment_1"], ["liver"]) == {1: 1} and matching_names(["x"], ["a", "b"]) == {}


def test_why_a_model_was_not_used_stands_in_the_review() -> None:
    models = [{"name": "x", "used": False, "why": "none of its segments has the name of a painted one"}]
    training = {"models": models, "assumed_slices": []}
    nothing = {"slices": [], "next_slices": [], "corrected": [], "mean_confidence": None, "seconds": {"total": 1}}
    (sentence,) = Review.from_report({"axis": 0, "training": training, **nothing}).earlier
    assert sentence == "The few-shot model “x” was not used: none of its segments has the name of a painted one."
