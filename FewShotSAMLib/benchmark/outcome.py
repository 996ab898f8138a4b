"""A method's input in addition to volume and annotation, and its output."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MethodSettings:
    """encoder: None for methods without one. cache: folder of the embeddings; None: they stay in memory, per row."""

    encoder: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    cache: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what can change a result, for the row's key."""
        return {"seed": self.seed, "device": self.device, "precision": self.precision}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A mask (K, J, I) and further details for the row."""

    mask: np.ndarray
    details: Mapping[str, Any] = field(default_factory=dict)
