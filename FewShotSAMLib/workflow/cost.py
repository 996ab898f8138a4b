"""Estimates, before a run starts, what it needs on this computer: device, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from FewShotSAMLib.core.pace import Pace, Work
from FewShotSAMLib.options import AUTO, AUTOMATIC_ENCODER
from FewShotSAMLib.workflow.settings import Settings


def format_bytes(count: int | None) -> str:
    """ "375 MB", "1.2 GB"; "?" if it is not known."""
    if count is None:
        return "?"
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB"


def format_seconds(seconds: float) -> str:
    """ "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Device:
    """A device to compute on; name as in `Settings.device`. Bytes are None if the system does not report them."""

    name: str
    title: str
    total_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True)
class EncoderState:
    """An encoder of the registry, whether its weights are on this computer, and estimates for the best device.

    A run takes about `start_seconds` if the process has to be started, plus the time that the pace of its method
    gives: see `run_seconds`.
    """

    name: str
    title: str
    licence: str
    download_bytes: int
    present: bool
    memory_bytes: int
    start_seconds: float
    paces: Mapping[str, Pace]


@dataclass(frozen=True)
class Machine:
    """The computer as the background process sees it."""

    devices: tuple[Device, ...]
    best_device: str
    encoders: tuple[EncoderState, ...]
    cache_bytes: int
    cache_limit_bytes: int
    cache_folder: str
    memory_free_bytes: int | None

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> Machine:
        """Build it from the report of the job `inspect`."""
        encoders = [
            each | {"paces": {name: Pace(**pace) for name, pace in each["paces"].items()}}
            for each in report["encoders"]
        ]
        rest = {name: report[name] for name in ("best_device", "cache_bytes", "cache_limit_bytes", "cache_folder")}
        return cls(
            devices=tuple(Device(**each) for each in report["devices"]),
            encoders=tuple(EncoderState(**each) for each in encoders),
            memory_free_bytes=report["memory_free_bytes"],
            **rest,
        )

    def with_pace(self, pace: Mapping[str, Any] | None) -> Machine:
        """A copy with the pace that a run's report gives; unchanged if another device than the best one computed."""
        if pace is None or pace["device"] != self.best_device:
            return self
        method, name = pace["method"], pace["encoder"]
        found = {field.name: pace[field.name] for field in fields(Pace) if field.name in pace}
        encoders = tuple(
            replace(each, paces={**each.paces, method: replace(each.paces[method], **found)})
            if each.name == name and method in each.paces
            else each
            for each in self.encoders
        )
        return replace(self, encoders=encoders)

    def encoder(self, name: str) -> EncoderState | None:
        """The encoder with this name, or the one that "auto" stands for; None if there is none."""
        name = AUTOMATIC_ENCODER if name == AUTO else name
        return next((each for each in self.encoders if each.name == name), None)


@dataclass(frozen=True)
class CostLine:
    """One line of the estimate. is_problem: whether to warn of it, as of too little memory."""

    text: str
    is_problem: bool = False


@dataclass(frozen=True)
class Cost:
    """time: device and duration, None if neither is worth a line; memory: what is needed and what is free."""

    time: CostLine | None
    memory: CostLine

    @property
    def shown(self) -> list[CostLine]:
        """The lines to show to the user; memory only if it is short."""
        return [line for line in (self.time, self.memory if self.memory.is_problem else None) if line is not None]


def cost_of(machine: Machine | None, settings: Settings, work: Work | None, registers: bool = False) -> Cost | None:
    """The estimate for a run; None while nothing is known about the computer, or if it lacks the chosen device.

    work: what the run has to do (`Session.work`), None while not known; registers: whether it registers earlier
    patients, too.
    """
    if machine is None:
        return None
    device, encoder = chosen_device(machine, settings), machine.encoder(settings.encoder)
    if device is None or encoder is None:
        return None
    time = _time(device, machine, settings, work)
    if time is not None and registers:
        time = replace(time, text=f"{time.text} Registering earlier patients to this volume takes extra time.")
    return Cost(time, _memory(device, encoder, machine))


def chosen_device(machine: Machine, settings: Settings) -> Device | None:
    """The device that will compute; None if the chosen one is not available."""
    name = machine.best_device if settings.device == "auto" else settings.device
    return next((device for device in machine.devices if device.name == name), None)


def run_seconds(machine: Machine, settings: Settings, work: Work) -> float | None:
    """The rough duration of a run in seconds; None if there is no estimate: for an unknown encoder or method, or for
    another device than the best, which the estimates are for."""
    encoder = machine.encoder(settings.encoder)
    if encoder is None or settings.device not in ("auto", machine.best_device):
        return None
    pace = encoder.paces.get(settings.method)
    return None if pace is None else encoder.start_seconds * work.starts + pace.seconds(work)


def _time(device: Device, machine: Machine, settings: Settings, work: Work | None) -> CostLine | None:
    if work is not None and not work.asked:  # nothing has changed since the last run
        return None
    seconds = None if work is None else run_seconds(machine, settings, work)
    time, slices = ("" if seconds is None else format_seconds(seconds)), (len(work.asked) if work else 0)
    if device.name == "cpu":
        if time:
            text = f"No GPU is used: about {time} for {slices} slices on the CPU."
        else:
            text = "No GPU is used; computing on the CPU is slower."
        return CostLine(text, is_problem=True)
    return CostLine(f"About {time} for {slices} slices on {device.title}.") if time else None


def _memory(device: Device, encoder: EncoderState, machine: Machine) -> CostLine:
    free = machine.memory_free_bytes if device.name == "cpu" else device.free_bytes
    text = f"Memory: needs {format_bytes(encoder.memory_bytes)}, {format_bytes(free)} free."
    if free is not None and free < encoder.memory_bytes:
        return CostLine(f"{text} Close other programs, or choose a smaller encoder.", is_problem=True)
    return CostLine(text)
