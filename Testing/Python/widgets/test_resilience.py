"""An unexpected error, wherever it occurs: it is reported, everything is reset, and the next Propagate works."""

from collections.abc import Callable, Iterator
from typing import Any

import fakes
import pytest
from harness import application, problems

from FewShotSAMLib.widgets import driver
from FewShotSAMLib.workflow import Progress, State

SECTIONS = range(11)


def broken(*values: Any) -> None:
    raise ValueError("nobody foresaw this")


@pytest.fixture(autouse=True)
def fastTimer() -> Iterator[None]:
    """The panel's own timer, ten times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_PERIOD_MS", 5)
        yield


def letTicksPass(panel: Any, count: int = 8) -> None:
    """Wait until the timer has fired this often; the panel looks at the views every fourth time."""
    timed, called = panel.widget.panel._driver, list[None]()
    tick = timed._tick
    timed._tick = lambda: (called.append(None), tick())
    application.until(lambda: len(called) >= count)
    timed._tick = tick


def checkNextPropagate(panel: Any) -> None:
    """Check that the panel's own timer still runs, and a run can be started."""
    polls = panel.session.polls
    panel.go(state=State.IDLE, axis=0, painted=fakes.painted(10, 20))
    panel.session.calls.clear()
    letTicksPass(panel)
    assert panel.session.polls > polls
    assert (panel.ui.propagateButton.text, panel.ui.propagateButton.enabled) == ("Propagate", True)
    panel.ui.propagateButton.click()
    assert panel.session.called("propagate") == [()]
    assert problems.takeAll() == [], "the same error is told once"


def checkTold(panel: Any, count: int = 1) -> None:
    found = problems.takeAll()
    assert len(found) == count and all("nobody foresaw this" in each for each in found), found
    assert "nobody foresaw this" in panel.ui.logText.plainText


@pytest.mark.parametrize("number", SECTIONS)
def test_a_section_that_cannot_be_shown_takes_nothing_else_with_it(panel: Any, number: int) -> None:
    section = panel.widget.panel._sections[number]
    whole = type(section)
    section.__class__ = panel.widget.panel._failures.guarded(type(whole.__name__, (whole,), {"update": broken}))
    panel.go(state=State.RUNNING, preview=fakes.FakePreview())
    panel.say("progressed", Progress("predict", "Predicting slices", 0.5, None))
    letTicksPass(panel)
    checkTold(panel)
    assert "Part of the panel could not be shown: ValueError nobody foresaw this." in panel.ui.messageLabel.text
    assert panel.session.called("give_up") == [], "what runs is not to blame"
    if whole.__name__ != "PropagateSection":
        assert panel.ui.propagateButton.text == "Cancel" and panel.ui.progressFrame.visible
    section.__class__ = whole
    checkNextPropagate(panel)


@pytest.mark.parametrize("place", ["poll", "wait"])
def test_a_session_that_fails_is_reset(panel: Any, place: str) -> None:
    setattr(panel.session, place, broken)
    letTicksPass(panel)
    checkTold(panel)
    assert len(panel.session.called("give_up")) > 1, "as long as it fails"
    delattr(panel.session, place)
    checkNextPropagate(panel)


def test_dropping_a_run_that_fails_itself_is_tried_again(panel: Any) -> None:
    given: list[Exception] = []

    def giveUp(error: Exception) -> None:
        given.append(error)
        if len(given) == 1:
            raise RuntimeError("the preview is gone: nobody foresaw this")

    panel.session.give_up = giveUp
    panel.session.apply = broken
    panel.go(state=State.PREVIEW, preview=fakes.FakePreview())
    panel.ui.applyButton.click()
    assert [type(error) for error in given] == [ValueError, RuntimeError]
    checkTold(panel, 2)
    checkNextPropagate(panel)


def pressed(name: str) -> Callable[[Any], None]:
    return lambda panel: getattr(panel.ui, name).click()


# What of the session or the views is broken, and what the user does.
SLOTS: list[tuple[str, Callable[[Any], None]]] = [
    ("session.propagate", pressed("propagateButton")),
    ("session.propagate", pressed("againButton")),
    ("session.apply", pressed("applyButton")),
    ("session.discard", pressed("discardButton")),
    ("session.set_empty", pressed("emptySliceButton")),
    ("session.set_axis", lambda panel: panel.ui.axisChoice.setCurrentIndex(2)),
    ("session.set_inputs", lambda panel: panel.ui.volumeSelector.setCurrentNodeID("")),
    ("scene.create_segmentation", pressed("newSegmentationButton")),
    ("session.save_model", pressed("saveModelButton")),
    ("dialogs.saveFile", pressed("exportButton")),
    ("session.inspect", pressed("inspectButton")),
    ("store.save", pressed("fillHolesCheck")),
    ("views.rotateTo", pressed("rotateViewsButton")),
    (
        "views.jumpTo",
        lambda panel: panel.ui.paintedList.native.itemClicked.emit(panel.ui.paintedList.topLevelItem(0), 0),
    ),
    ("views.jumpTo", lambda panel: panel.widget.panel._review._strip._onClicked(3)),
    ("views.jumpTo", pressed("nextSliceButton")),
    ("dependencies.install", pressed("installButton")),
]


@pytest.mark.parametrize(("what", "act"), SLOTS, ids=lambda each: each if isinstance(each, str) else "")
def test_an_action_that_fails_is_told_and_all_is_reset(
    panel: Any, scene: Any, monkeypatch: pytest.MonkeyPatch, what: str, act: Callable[[Any], None]
) -> None:
    panel.dialogs.answer = "kidney"
    values = {"axis": 0, "painted": fakes.painted(10, 20), "review": fakes.review(), "learned_model": "learned.fewshot"}
    panel.go(state=State.PREVIEW, preview=fakes.FakePreview(), **values)
    panel.wait(8)
    owner, name = what.split(".")
    monkeypatch.setattr(getattr(panel.widget.panel.services, owner), name, broken, raising=False)
    panel.session.calls.clear()
    act(panel)
    checkTold(panel)
    assert len(panel.session.called("give_up")) == 1
    monkeypatch.undo()
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    problems.takeAll()
    checkNextPropagate(panel)


@pytest.mark.parametrize("what", ["session.thumbnail", "views.currentSlice", "views.areTilted"])
def test_a_look_at_the_views_that_fails_again_and_again_is_told_once(
    panel: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    panel.go(axis=0, painted=fakes.painted(10, 20), review=fakes.review())
    owner, name = what.split(".")
    monkeypatch.setattr(getattr(panel.widget.panel.services, owner), name, broken, raising=False)
    panel.session.changed.emit()
    letTicksPass(panel, 20)
    told = problems.takeAll()
    assert told and len(told) == len(set(told)) and len(told) <= 5, "once for each place that looks"
    assert panel.session.called("give_up") == []
    assert panel.ui.propagateButton.enabled
    monkeypatch.undo()
    checkNextPropagate(panel)
