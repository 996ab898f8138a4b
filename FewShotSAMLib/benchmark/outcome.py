"""What goes into a method besides volume and annotation, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MethodSettings:
    """encoder: None for methods without one. cache: folder of the embeddings; None keeps them in memory, per row."""

    encoder: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    cache: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """What can change a result, for the key of a row."""
        return {"seed": self.seed, "device": self.device, "precision": self.precision}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A mask (K, J, I) and what else is worth a note in the row."""

    mask: np.ndarray
    details: Mapping[str, Any] = field(default_factory=dict)
