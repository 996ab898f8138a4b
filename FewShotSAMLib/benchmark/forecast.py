"""Warns beforehand which methods will train for long on this computer: one row of theirs may take all night."""

from collections import Counter
from collections.abc import Iterable

from FewShotSAMLib.benchmark.plan import RowJob
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, get_method
from FewShotSAMLib.sam.registry import get_spec

LONG_S = 600.0
"""A row's training time, in seconds, from which a warning is given."""


def long_training(jobs: Iterable[RowJob]) -> list[str]:
    """Return a sentence for each method and encoder that train for long. Only adapting a large encoder can: without any
    such row the engine is not even loaded, and nothing is measured."""
    groups = Counter(
        (name, job.settings.encoder, job.settings.device)
        for job in jobs
        if job.settings.encoder and job.method.options is not None
        if not get_spec(job.settings.encoder).architecture.fine_channels
        for name in [str(job.method.options.get("method", DEFAULT_METHOD))]
        if get_method(name).load().adapts_encoder
    )
    return [text for (name, encoder, device), rows in groups.items() if (text := _line(name, encoder, device, rows))]


def _line(name: str, encoder: str, device: str, rows: int) -> str:
    from FewShotSAMLib.engine.estimates import learning_cost, multiplications_per_second
    from FewShotSAMLib.sam.precision import pick_device

    cost = learning_cost(get_spec(encoder), get_method(name).load())
    seconds = cost / multiplications_per_second(pick_device(device))
    if seconds < LONG_S:
        return ""
    time = f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"
    return f"{name} on {encoder}: about {time} of training for each of {rows} row{'s' * (rows != 1)} on this computer."
