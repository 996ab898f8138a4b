"""Converts the contents of reports and events to what JSON can hold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEAL = "sha256"


def plain(value: Any) -> Any:
    """Paths become text, arrays lists, and numbers that JSON lacks (NaN, ±inf) null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # NumPy's and torch's scalars and arrays, recognised without importing either
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def dumps_with_digest(content: Mapping[str, Any]) -> str:
    """JSON text with a digest, by which `loads_with_digest` detects changes."""
    return json.dumps({**content, _SEAL: _digest(content)})


def loads_with_digest(text: str) -> dict[str, Any]:
    """The content given to `dumps_with_digest`. Raises ValueError if the text was changed."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop(_SEAL, None) != _digest(content):
        raise ValueError("its digest does not fit")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
