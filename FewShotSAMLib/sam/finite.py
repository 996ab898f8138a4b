"""Keeps NaN and infinities out of results: they end a run with an error."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from FewShotSAMLib.core.errors import BadInputError

HINT = (
    "Look at the volume's values (fewshotsam inspect), and try the precision fp32 on the device cpu; "
    "if the values are all right, please report this error."
)


def require_finite(values: Tensor, what: str) -> Tensor:
    """The values, unchanged. Raises BadInputError, with a message that begins with `what`, if some are not finite."""
    # A sum propagates NaN and infinities without needing a copy; it may also overflow by itself.
    is_doubtful = values.is_floating_point() and not bool(values.sum(dtype=torch.float32).isfinite())
    if is_doubtful and not bool(values.isfinite().all()):
        _refuse(what)
    return values


def finite_loss(loss: float) -> float:
    """The loss, unchanged. Raises BadInputError if it is not finite, as the training is then useless."""
    if not math.isfinite(loss):
        _refuse("The loss of the training")
    return loss


def _refuse(what: str) -> NoReturn:
    raise BadInputError(f"{what} is not finite (NaN or infinity), so the result would be meaningless.", HINT)
