"""What a run will cost, told before it starts: device, time and memory."""

from __future__ import annotations

from FewShotSAMLib.widgets.services import Services
from FewShotSAMLib.widgets.texts import PROBLEM_COLOR, colored, escaped, formatBytes, formatSeconds
from FewShotSAMLib.widgets.translation import _
from FewShotSAMLib.workflow import Device, EncoderState, Machine, Settings


def chosenDevice(machine: Machine, settings: Settings) -> Device | None:
    """The device that will compute; None where the chosen one is not there."""
    name = machine.best_device if settings.device == "auto" else settings.device
    return next((device for device in machine.devices if device.name == name), None)


def sliceCount(services: Services) -> int:
    """How many slices the encoder has to see; 0 while that is not known."""
    session = services.session
    if session.target is None or session.axis is None:
        return 0
    if session.range is not None:
        return session.range[1] - session.range[0] + 1
    return services.views.sliceCount(session.target.volume, session.axis)


def costText(services: Services) -> str:
    """Rich text: red where the processor alone computes, or where memory is short; "" while nothing is known."""
    machine, settings = services.session.machine, services.session.settings
    if machine is None:
        return ""
    device, encoder = chosenDevice(machine, settings), machine.encoder(settings.encoder)
    if device is None or encoder is None:
        return ""
    lines = [_deviceLine(device, encoder, machine, sliceCount(services)), _memoryLine(device, encoder, machine)]
    return "<br>".join(line for line in lines if line)


def _deviceLine(device: Device, encoder: EncoderState, machine: Machine, slices: int) -> str:
    on_best = device.name == machine.best_device  # the estimates are for that one
    time = formatSeconds(encoder.start_seconds + slices * encoder.seconds_per_slice) if slices and on_best else ""
    if device.name == "cpu":
        if time:
            text = _("No graphics card is used: about {0} for {1} slices on the processor.").format(time, slices)
        else:
            text = _("No graphics card is used: the processor computes, which is slower.")
        return colored(text, PROBLEM_COLOR)
    return escaped(_("About {0} for {1} slices on {2}.").format(time, slices, device.title)) if time else ""


def _memoryLine(device: Device, encoder: EncoderState, machine: Machine) -> str:
    free = machine.memory_free_bytes if device.name == "cpu" else device.free_bytes
    text = _("Memory: needs {0}, {1} free.").format(formatBytes(encoder.memory_bytes), formatBytes(free))
    if free is not None and free < encoder.memory_bytes:
        advice = _("Close other programs, or choose a smaller encoder under Advanced.")
        return colored(f"{text} {advice}", PROBLEM_COLOR)
    return escaped(text)
