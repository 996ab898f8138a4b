"""AdamW with a schedule, based on torch's functional AdamW.

The class torch.optim.AdamW loads torch's compiler, which nothing here uses: two seconds of each process that learns.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from FewShotSAMLib.methods.interface import Schedule


class ScheduledAdamW:
    """AdamW over groups of parameters, each with its learning rate as a multiple of the schedule's. fused: compute the
    updates in one operation, which rounds slightly differently."""

    def __init__(
        self, groups: Iterable[tuple[Iterable[nn.Parameter], float]], schedule: Schedule, fused: bool = False
    ) -> None:
        self._groups = [(list(group), pace * schedule.learning_rate) for group, pace in groups]
        self._schedule, self._fused, self._steps = schedule, fused, 0
        self._state: dict[nn.Parameter, tuple[Tensor, Tensor, Tensor]] = {}

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for group, _ in self._groups:
            for parameter in group:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have gradients."""
        factor = self._schedule.factor(self._steps)
        self._steps += 1
        for group, rate in self._groups:
            learning = [parameter for parameter in group if parameter.grad is not None]
            for parameter in learning:
                if parameter not in self._state:
                    self._state[parameter] = self._first(parameter)
            state = [self._state[parameter] for parameter in learning]
            adamw(
                list[Tensor](learning),
                [each.grad for each in learning if each.grad is not None],
                [first for first, _, _ in state],
                [second for _, second, _ in state],
                [],
                [steps for _, _, steps in state],
                fused=True if self._fused else None,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=rate * factor,
                weight_decay=self._schedule.weight_decay,
                eps=1e-8,
                maximize=False,
            )

    def _first(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
        steps = torch.zeros((), device=parameter.device if self._fused else "cpu")
        return torch.zeros_like(parameter), torch.zeros_like(parameter), steps
