"""FewShotSAM: paint a few slices, get the volume.

From Python: `import FewShotSAMLib as fss`, then `fss.propagate` and `fss.apply`; see docs/python-api.md. Importing this
package loads nothing else: the names below are imported on first use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing takes time, in which Ctrl-C would print a traceback
    from typing import Any

    from FewShotSAMLib.api import Model, Result, apply, propagate
    from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError
    from FewShotSAMLib.core.geometry import Geometry
    from FewShotSAMLib.core.segmentation import Segmentation
    from FewShotSAMLib.core.volume import Volume
    from FewShotSAMLib.worker.client import WorkerClient

__version__ = "0.1.0"

_PLACES = {
    **dict.fromkeys(("Model", "Result", "apply", "propagate"), "api"),
    **dict.fromkeys(("BadInputError", "CancelledError", "FewShotSAMError"), "core.errors"),
    "Geometry": "core.geometry",
    "Segmentation": "core.segmentation",
    "Volume": "core.volume",
    "WorkerClient": "worker.client",
}

__all__ = [
    "BadInputError",
    "CancelledError",
    "FewShotSAMError",
    "Geometry",
    "Model",
    "Result",
    "Segmentation",
    "Volume",
    "WorkerClient",
    "apply",
    "propagate",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
