"""Runs that the user ends: with the first answer, or without any."""

import time

import pytest

from FewShotSAMLib.workflow import State


def test_the_first_answer_can_be_taken_as_it_is(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(type(stage.session._requests._client).request.__globals__, "STEPS", 5000)
    fractions: list[float] = []

    def hear(progress) -> None:
        if progress.can_finish:
            fractions.append(progress.fraction)
            stage.session.use_first_answer()

    stage.session.range = (10, 14)
    stage.session.progressed.connect(hear)
    stage.session.use_first_answer()  # nothing runs: nothing happens
    stage.propagate()
    assert stage.session.state is State.PREVIEW and not stage.errors
    assert fractions and max(fractions) < 0.5
    assert stage.session.review.can_be_bettered and "the first answer" in stage.session.review.summary
    stage.session.apply()
    assert stage.scene.labels[13].any()


@pytest.mark.parametrize("moment", ["preparing", "running", "learn", "predict"])
def test_cancel_in_every_stage(stage, moment: str) -> None:
    reached: list[str] = []
    stage.session.range = (10, 14)
    stage.session.progressed.connect(lambda progress: reached.append(progress.stage))
    before = stage.scene.labels.copy()
    stage.session.propagate()
    if moment == "running":
        stage.until(lambda: stage.session.state is State.RUNNING)
    elif moment != "preparing":
        stage.until(lambda: moment in reached)
    started = time.monotonic()
    stage.session.cancel()
    stage.until(lambda: stage.session.state is State.IDLE)
    assert time.monotonic() - started < 10
    assert (stage.scene.labels == before).all() and all(each.is_removed for each in stage.scene.previews)
    assert any("cancelled" in message.text for message in stage.messages) and not stage.errors
    stage.propagate()  # and nothing stands in the way of the next
