"""What a job sees of the background process."""

import threading

import pytest

from FewShotSAMLib.core.errors import CancelledError
from FewShotSAMLib.engine.context import JobContext


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_throttled_and_estimates_from_the_stages_own_pace() -> None:
    sent: list[dict] = []
    clock = Clock()
    context = JobContext(lambda kind, fields: sent.append({"type": kind, **fields}), clock=clock)
    context.progress("encode", 40, 100)  # 40 slices came from the cache, instantly
    for done in range(41, 101):
        clock.now += 0.05
        context.progress("encode", done, 100)
    context.progress("learn", 0, 10)
    assert sent[0] == {"type": "progress", "stage": "encode", "done": 40, "total": 100, "eta_s": None}
    assert sent[1]["eta_s"] == pytest.approx(0.05 * (100 - sent[1]["done"]), abs=0.06)
    assert [sent[-2]["done"], sent[-2]["eta_s"], sent[-1]["stage"]] == [100, 0.0, "learn"]
    assert 15 < len(sent) < 40


def test_cancellation_raises_at_every_report() -> None:
    cancelled = threading.Event()
    context = JobContext(cancelled=cancelled)
    context.check()
    cancelled.set()
    with pytest.raises(CancelledError):
        context.check()
    with pytest.raises(CancelledError):
        context.progress("learn", 1, 2)


def test_a_silent_context_collects_warnings_once() -> None:
    context = JobContext()
    context.warning("a")
    context.warning("a")
    context.metric("loss", 1.0)
    context.preview(slice=3)
    assert context.warnings == ["a"]
    assert context.state == {}
