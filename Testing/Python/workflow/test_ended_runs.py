"""Runs that end early: the user takes the first answer or none; process, preview, volume or scene disappear."""

import os
import signal
import time

import pytest
from warm import WarmClient

from FewShotSAMLib.workflow import State


def test_the_first_answer_can_be_taken_as_it_is(stage) -> None:
    stage.session._requests._client.steps = 5000
    fractions: list[float] = []

    def hear(progress) -> None:
        if progress.can_finish:
            fractions.append(progress.fraction)
            stage.session.use_first_answer()

    stage.session.range = (10, 14)
    stage.session.progressed.connect(hear)
    stage.session.use_first_answer()  # nothing runs, so nothing happens
    stage.propagate()
    assert stage.session.state is State.PREVIEW and not stage.errors
    assert fractions and max(fractions) < 0.5
    assert stage.session.review.can_improve and "the first answer" in stage.session.review.summary
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
    stage.propagate()  # nothing blocks the next run


@pytest.mark.parametrize("state", [State.RUNNING, State.PREVIEW])
def test_a_preview_that_is_deleted_is_a_result_that_is_dropped(stage, state: State) -> None:
    """A user can do so in the scene's list of nodes."""
    session = stage.session
    stage.start()
    session.state = state
    session.preview.is_removed = True
    session.poll()
    assert (session.state, session.preview) == (State.IDLE, None)
    assert "preview was removed" in stage.messages[-1].text


def test_a_killed_process_is_a_message_and_the_next_run_works(stage, warm_client: WarmClient) -> None:
    stage.start()
    os.kill(warm_client.pid, signal.SIGKILL)
    stage.until(lambda: stage.session.state is State.IDLE)
    assert stage.errors and "background process" in stage.errors[0].lower()
    stage.propagate()


def test_closing_the_scene_and_removing_a_node(stage) -> None:
    stage.start()
    stage.session.forget_scene()
    assert stage.session.state is State.IDLE and stage.session.target is None and stage.scene.previews[-1].is_removed
    stage.session.set_inputs("v", "s")
    stage.settle()
    stage.start()
    stage.scene.nodes.remove("v")
    stage.until(lambda: stage.session.target is None)
    assert "removed" in stage.messages[-1].text and stage.session.state is State.IDLE
