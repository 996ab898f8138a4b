"""What a run will cost, told before it starts: device, time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from FewShotSAMLib.workflow.amounts import format_bytes, format_seconds
from FewShotSAMLib.workflow.duration import run_seconds
from FewShotSAMLib.workflow.machine import Device, EncoderState, Machine
from FewShotSAMLib.workflow.painted_slices import PaintedSlice
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


def cost_of(machine: Machine | None, settings: Settings, slices: int) -> Cost | None:
    """The estimate for a run; None while nothing is known of the computer, or the chosen device is not there.

    slices: how many the encoder has to see (`slices_to_encode`), 0 while that is not known.
    """
    if machine is None:
        return None
    device, encoder = chosen_device(machine, settings), machine.encoder(settings.encoder)
    if device is None or encoder is None:
        return None
    return Cost(_time(device, machine, settings, slices), _memory(device, encoder, machine))


def chosen_device(machine: Machine, settings: Settings) -> Device | None:
    """The device that will compute; None where the chosen one is not there."""
    name = machine.best_device if settings.device == "auto" else settings.device
    return next((device for device in machine.devices if device.name == name), None)


def slices_to_encode(limits: tuple[int, int] | None, count: int, worked_on: Sequence[PaintedSlice] = ()) -> int:
    """How many slices a run will predict, of `count` along the axis; limits: `Session.range`.

    worked_on: `Session.painted`. Beyond an empty slice, and between two of them, nothing is looked for
    (`Annotation.ruled_out`).
    """
    first, last = limits or (0, count - 1)
    is_empty = {each.index: each.empty for each in worked_on if each.ticked}
    return sum(_is_asked(index, is_empty) for index in range(first, last + 1))


def _is_asked(index: int, is_empty: Mapping[int, bool]) -> bool:
    if index in is_empty:
        return False
    below = max((known for known in is_empty if known < index), default=None)
    above = min((known for known in is_empty if known > index), default=None)
    beside = [is_empty[known] for known in (below, above) if known is not None]
    return not beside or not all(beside)


def _time(device: Device, machine: Machine, settings: Settings, slices: int) -> CostLine | None:
    seconds = run_seconds(machine, settings, slices) if slices else None
    time = "" if seconds is None else format_seconds(seconds)
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
