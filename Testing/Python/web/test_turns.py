"""The view in use is drawn first; slow work waits until the user pauses."""

from collections.abc import Sequence

import pytest
from web.conftest import needs_trame_slicer

from FewShotSAMLib.web.turns import PAUSE_S, Turns


class Clock:
    """Seconds, set by a test."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class View:
    """A view that blocks as trame-slicer's: drawn when asked to while it is not blocked, and when a block ends."""

    def __init__(self, is_in_layout: bool = True) -> None:
        self.is_render_blocked = not is_in_layout
        self.drawn = 0

    def schedule_render(self) -> None:
        self.drawn += not self.is_render_blocked

    def set_render_blocked(self, is_blocked: bool) -> bool:
        before, self.is_render_blocked = self.is_render_blocked, is_blocked
        self.schedule_render()
        return before


def drawn(views: Sequence[View]) -> list[int]:
    """How often each was drawn since the last call, when all of them are asked to draw."""
    for view in views:
        view.schedule_render()
    counts = [view.drawn for view in views]
    for view in views:
        view.drawn = 0
    return counts


def test_others_are_drawn_once_the_pointer_rests() -> None:
    views, clock = [View(), View(), View(is_in_layout=False)], Clock()
    turns = Turns(views, clock)
    for _ in range(5):
        turns.take(views[0])
        clock.now += 0.9 * PAUSE_S
        turns.poll()
        assert drawn(views) == [1, 0, 0]
    clock.now += 0.2 * PAUSE_S
    turns.poll()
    assert [view.drawn for view in views] == [0, 1, 0]
    assert drawn(views) == [1, 2, 0]
    turns.poll()
    assert drawn(views) == [1, 1, 0]


def test_the_pointer_in_another_view_draws_it_at_once() -> None:
    views = [View(), View(), View()]
    turns = Turns(views, Clock())
    turns.take(views[0])
    turns.take(views[1])
    assert views[1].drawn == 1 and drawn(views) == [0, 2, 0]
    turns.end()
    assert drawn(views) == [2, 1, 2]


def test_no_view_is_drawn_while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_trame_slicer()
    from trame.app import get_server
    from trame_slicer.core import SlicerApp
    from trame_slicer.views import AbstractView

    from FewShotSAMLib.web.views import Views

    drawn: list[AbstractView] = []
    monkeypatch.setattr(AbstractView, "render", drawn.append)
    views = Views(SlicerApp(), get_server("views"), lambda: None, lambda: None)
    assert views.in_3d and not drawn
