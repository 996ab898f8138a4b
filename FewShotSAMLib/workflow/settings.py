"""Settings of the propagation, which belong to a user and a computer rather than to a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from FewShotSAMLib.methods.registry import DEFAULT_METHOD
from FewShotSAMLib.options import AUTO, encoder_names, option

_EARLIER_WORDS = {"precision": {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}}
"""Values that earlier versions saved, and their present names."""

_COMPUTING = ("device", "precision", "cache_limit_gb", "largest_island", "fill_holes", "smooth_mm")


@dataclass(frozen=True)
class Settings:
    """Method, encoder and where to compute, as in the parameters of the job `propagate`; see `options.OPTIONS`.

    checkpoint: a local file with the encoder's weights, "" for the default. cache_limit_gb: None for the default.
    """

    method: str = DEFAULT_METHOD
    encoder: str = AUTO
    checkpoint: str = ""
    device: str = AUTO
    precision: str = AUTO
    cache_limit_gb: float | None = None
    largest_island: bool = False
    fill_holes: bool = False
    smooth_mm: float = 0.0

    def parameters(self) -> dict[str, Any]:
        """The parameters of a request; defaults are left out."""
        default = Settings()
        return {name: value for name, value in asdict(self).items() if value != getattr(default, name)}

    def computing(self) -> dict[str, Any]:
        """Those of `parameters` that matter when a model is applied; it brings its own method and encoder."""
        return {name: value for name, value in self.parameters().items() if name in _COMPUTING}

    def to_json(self) -> dict[str, Any]:
        """The values for the application's settings file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> tuple[Settings, list[str]]:
        """Read what `to_json` returned, with the names of settings that were reset because no job takes their values.

        Unknown names, as of another version, are ignored; values that earlier versions named differently are accepted.
        """
        kept: dict[str, Any] = {}
        dropped = []
        for name, default in asdict(cls()).items():
            value = values.get(name, default)
            value = _EARLIER_WORDS.get(name, {}).get(value, value) if isinstance(value, str) else value
            if value == default and type(value) is type(default):
                continue
            try:
                option(name).check(value)
            except ValueError:
                dropped.append(name)
            else:
                kept[name] = value
        if kept.get("encoder", AUTO) not in encoder_names():
            dropped.append("encoder")
            del kept["encoder"]
        return cls(**kept), dropped
