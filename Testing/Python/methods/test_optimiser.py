"""The optimiser that works without torch's compiler takes exactly the same steps as torch's own."""

import torch

from FewShotSAMLib.methods.interface import Schedule
from FewShotSAMLib.methods.optimiser import ScheduledAdamW


def test_its_steps_are_those_of_torch_to_the_bit() -> None:
    schedule = Schedule(steps=6, learning_rate=1e-2, weight_decay=0.1, warm_up=3)
    for fused in (False, True):
        start = [torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
        ours, theirs = ([torch.nn.Parameter(each.clone()) for each in start] for _ in range(2))
        optimiser = ScheduledAdamW([(ours[:1], 1.0), (ours[1:], 0.3)], schedule, fused)
        groups = [{"params": theirs[:1], "lr": 1e-2}, {"params": theirs[1:], "lr": 0.3 * 1e-2}]
        reference = torch.optim.AdamW(groups, weight_decay=0.1, fused=fused)
        scheduler = torch.optim.lr_scheduler.LambdaLR(reference, schedule.factor)
        for step in range(6):
            for parameters in (ours, theirs):
                parts = [each.pow(3).sum() for each in parameters[: 2 + step // 2]]  # the last one joins in later
                sum(parts, torch.zeros(())).backward()
            optimiser.step()
            reference.step()
            scheduler.step()
            assert all(map(torch.equal, ours, theirs)), (fused, step)
            optimiser.zero_grad()
            reference.zero_grad()
        assert not any(map(torch.equal, ours, start))
