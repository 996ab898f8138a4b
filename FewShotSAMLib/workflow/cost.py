"""What a run will cost, told before it starts: device, time and memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.workflow.amounts import format_bytes, format_seconds
from FewShotSAMLib.workflow.machine import Device, EncoderState, Machine
from FewShotSAMLib.workflow.settings import Settings


@dataclass(frozen=True)
class CostLine:
    """One line of the estimate. is_problem: something to be warned of, such as too little memory."""

    text: str
    is_problem: bool = False


@dataclass(frozen=True)
class Cost:
    """time: device and duration, None where neither is worth a line; memory: what is needed and what is free."""

    time: CostLine | None
    memory: CostLine

    @property
    def shown(self) -> list[CostLine]:
        """What a user is told: the memory where it is short."""
        return [line for line in (self.time, self.memory if self.memory.is_problem else None) if line is not None]


def cost_of(machine: Machine | None, settings: Settings, work: Work | None, registers: bool = False) -> Cost | None:
    """The estimate for a run; None while nothing is known of the computer, or the chosen device is not there.

    work: what the run has to do (`Session.work`), None while that is not known; registers: earlier patients, too.
    """
    if machine is None:
        return None
    device, encoder = chosen_device(machine, settings), machine.encoder(settings.encoder)
    if device is None or encoder is None:
        return None
    time = _time(device, machine, settings, work)
    if time is not None and registers:
        time = replace(time, text=f"{time.text} Registering earlier patients to this volume comes on top.")
    return Cost(time, _memory(device, encoder, machine))


def chosen_device(machine: Machine, settings: Settings) -> Device | None:
    """The device that will compute; None where the chosen one is not there."""
    name = machine.best_device if settings.device == "auto" else settings.device
    return next((device for device in machine.devices if device.name == name), None)


def run_seconds(machine: Machine, settings: Settings, work: Work) -> float | None:
    """Roughly the seconds of a run; None where there is no estimate: for an encoder or a
    method that is not known, or another device than the best, which the estimates are for."""
    encoder = machine.encoder(settings.encoder)
    if encoder is None or settings.device not in ("auto", machine.best_device):
        return None
    pace = encoder.paces.get(settings.method)
    return None if pace is None else encoder.start_seconds * work.starts + pace.seconds(work)


def _time(device: Device, machine: Machine, settings: Settings, work: Work | None) -> CostLine | None:
    if work is not None and not work.asked:  # nothing was changed since the last run
        return None
    seconds = None if work is None else run_seconds(machine, settings, work)
    time, slices = ("" if seconds is None else format_seconds(seconds)), (len(work.asked) if work else 0)
    if device.name == "cpu":
        if time:
            text = f"No graphics card is used: about {time} for {slices} slices on the processor."
        else:
            text = "No graphics card is used: the processor computes, which is slower."
        return CostLine(text, is_problem=True)
    return CostLine(f"About {time} for {slices} slices on {device.title}.") if time else None


def _memory(device: Device, encoder: EncoderState, machine: Machine) -> CostLine:
    free = machine.memory_free_bytes if device.name == "cpu" else device.free_bytes
    text = f"Memory: needs {format_bytes(encoder.memory_bytes)}, {format_bytes(free)} free."
    if free is not None and free < encoder.memory_bytes:
        return CostLine(f"{text} Close other programs, or choose a smaller encoder.", is_problem=True)
    return CostLine(text)
