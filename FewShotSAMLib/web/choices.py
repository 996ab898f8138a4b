"""The section Settings: how to propagate, and over which slices. The session holds it all, so it survives a reload."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.plane import axis_of_plane, slice_plane
from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.options import AUTO, option
from FewShotSAMLib.web.contents import Contents
from FewShotSAMLib.web.triggers import Triggers, integer, number, one_of
from FewShotSAMLib.web.views import PLANES
from FewShotSAMLib.workflow import Machine, Session
from FewShotSAMLib.workflow.cost import cost_of, format_bytes


def choices_contents(session: Session, geometry: Geometry | None, axis: int, refusals: int) -> Contents:
    """What can be chosen, what is chosen, and what a run will cost.

    axis: `WebApp.work_axis`. refusals: changes with each refusal, so that the page is sent all again.
    """
    settings, chosen = session.settings, session.chosen_axis
    last = 0 if geometry is None else geometry.shape[axis] - 1
    limits = session.range or (0, last)
    return {
        "choices": {
            "methods": [{"name": each.name, "title": each.title} for each in METHODS],
            **_machine_choices(session.machine),
        },
        "settings": {
            **{name: getattr(settings, name) for name in _CHECKS},
            "plane": "" if chosen is None or geometry is None else slice_plane(geometry, chosen).name,
            "first": limits[0],
            "last": limits[1],
            "end": last,
            "is_limited": session.range is not None,
            "refusals": refusals,
        },
        "cost": _cost(session, last + 1),
    }


def _machine_choices(machine: Machine | None) -> Contents:
    if machine is None:
        return {"encoders": [], "devices": []}
    encoders = [{"name": each.name, "title": each.title, "present": each.present} for each in machine.encoders]
    devices = [
        {"name": each.name, "title": f"{each.title} ({format_bytes(each.free_bytes)} free)"} for each in machine.devices
    ]
    return {"encoders": encoders, "devices": devices}


def _cost(session: Session, count: int) -> Contents:
    """The cost of a run, in one line."""
    is_known = session.target is not None and session.axis is not None
    work = session.work(count) if is_known else None
    cost = cost_of(session.machine, session.settings, work, bool(session.earlier))
    if cost is None:
        return {"text": "", "is_problem": False}
    return {"text": " ".join(each.text for each in cost.shown), "is_problem": cost.memory.is_problem}


def change_setting(session: Session, name: str, value: Any) -> None:
    """Change one of the session's settings. Raises ValueError or KeyError for what the page does not offer, and
    BadInputError for an encoder that is not on this computer."""
    changed: dict[str, Any] = {name: _CHECKS[name](value, session.machine)}
    session.settings = replace(session.settings, **changed)


def _encoder(value: Any, machine: Machine | None) -> str:
    known = () if machine is None else machine.encoders
    name = one_of(value, [AUTO, *(each.name for each in known)])
    if any(each.name == name and not each.present for each in known):
        raise BadInputError(f"The encoder {name} is not on this computer.", hint("get-model", encoder=name))
    return name


def _device(value: Any, machine: Machine | None) -> str:
    return one_of(value, [AUTO, *(each.name for each in (() if machine is None else machine.devices))])


def _smoothing(value: Any, _machine: Machine | None) -> float:
    known, millimetres = option("smooth_mm"), float(number(value))
    try:
        return float(known.check(millimetres))
    except ValueError as error:
        raise BadInputError(f"Smoothing of {millimetres:g} mm is not possible.", f"Choose {error}.") from error


def _of_table(name: str) -> Callable[[Any, Machine | None], Any]:
    return lambda value, _machine: option(name).check(value)


_CHECKS: dict[str, Callable[[Any, Machine | None], Any]] = {
    "method": _of_table("method"),
    "encoder": _encoder,
    "device": _device,
    "largest_island": _of_table("largest_island"),
    "fill_holes": _of_table("fill_holes"),
    "smooth_mm": _smoothing,
}


class ChoiceActions(Triggers):
    """The section's requests. Nothing is changed during a run."""

    def set_choice(self, name: str, value: Any) -> None:
        """Set method, encoder, device or post-processing."""
        self._need_rest()
        with self._refusing():
            change_setting(self._app.session, str(name), value)

    def set_plane(self, plane: str) -> None:
        """Set the plane of the painted slices; "" to detect it."""
        self._need_rest()
        self._need_volume()
        assert self._app.volume is not None
        plane = one_of(plane, ("", *PLANES))
        axis = axis_of_plane(self._app.volume.geometry, plane) if plane else None
        self._app.session.range = None  # it counted slices of the previous plane
        self._app.session.set_axis(axis)

    def set_range(self, first: float, last: float) -> None:
        """Set the first and last slice to segment; if no slice is left out, there is no range."""
        self._need_rest()
        self._need_volume()
        assert self._app.volume is not None
        limits, end = (integer(first), integer(last)), self._app.volume.geometry.shape[self._app.work_axis] - 1
        with self._refusing():
            if not 0 <= limits[0] <= limits[1] <= end:
                text = f"Slices {limits[0]} to {limits[1]} are not a range of this volume."
                raise BadInputError(text, f"Choose a first and a last slice between 0 and {end}.")
            self._app.session.range = None if limits == (0, end) else limits

    def look_again(self) -> None:
        """Ask again what the computer can do: weights may have been downloaded in the meantime."""
        if not self._app.session.is_busy:
            self._app.session.inspect()

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Have the page show the value that holds, instead of the one that was typed, if that is refused."""
        try:
            yield
            self._app.show()
        except Exception:
            self._app.show(refusals=self._app.extra["refusals"] + 1)
            raise
