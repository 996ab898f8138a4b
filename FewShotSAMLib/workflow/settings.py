"""How to propagate: the choices that belong to a user and a computer rather than to a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Settings:
    """Method, encoder and where to compute, as in the parameters of the job `propagate`.

    checkpoint: a local file of the encoder's weights, "" for the usual place. cache_limit_gb: None for the default.
    """

    method: str = "few-shot"
    encoder: str = "auto"
    checkpoint: str = ""
    device: str = "auto"
    precision: str = "auto"
    cache_limit_gb: float | None = None
    largest_island: bool = False
    fill_holes: bool = False
    smooth_mm: float = 0.0

    def parameters(self) -> dict[str, Any]:
        """What of it goes into a request; what has its default is left out."""
        default = Settings()
        return {name: value for name, value in asdict(self).items() if value != getattr(default, name)}

    def to_json(self) -> dict[str, Any]:
        """For the application's settings file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave; names of another version are ignored, and values of another type take the default."""
        default = asdict(cls())
        known = {entry.name for entry in fields(cls)} & set(values)
        return cls(**{name: values[name] for name in known if _is_like(values[name], default[name])})


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, float) or default is None:
        return (isinstance(value, int | float) and not isinstance(value, bool)) or (value is None and default is None)
    return isinstance(value, type(default))
