"""How long a run will take, by the method and the encoder that are chosen."""

from __future__ import annotations

from FewShotSAMLib.workflow.machine import Machine
from FewShotSAMLib.workflow.settings import Settings


def run_seconds(machine: Machine, settings: Settings, slices: int) -> float | None:
    """Roughly the seconds of a run that encodes `slices` slices; None where there is no estimate: for an encoder or a
    method that is not known, or another device than the best, which the estimates are for."""
    encoder = machine.encoder(settings.encoder)
    if encoder is None or settings.device not in ("auto", machine.best_device):
        return None
    training, each = encoder.training_seconds.get(settings.method), encoder.slice_seconds.get(settings.method)
    return None if training is None or each is None else encoder.start_seconds + training + slices * each
