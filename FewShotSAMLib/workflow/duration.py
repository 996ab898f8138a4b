"""How long a run will take, by the method and the encoder that are chosen."""

from __future__ import annotations

from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.workflow.machine import Machine
from FewShotSAMLib.workflow.settings import Settings


def run_seconds(machine: Machine, settings: Settings, work: Work) -> float | None:
    """Roughly the seconds of a run; None where there is no estimate: for an encoder or a
    method that is not known, or another device than the best, which the estimates are for."""
    encoder = machine.encoder(settings.encoder)
    if encoder is None or settings.device not in ("auto", machine.best_device):
        return None
    pace = encoder.paces.get(settings.method)
    return None if pace is None else encoder.start_seconds * work.starts + pace.seconds(work)
