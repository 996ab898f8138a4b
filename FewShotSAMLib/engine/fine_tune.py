"""Fine-tunes a head on the exemplars' embeddings."""

from collections.abc import Callable, Sequence

import torch

from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.methods.augmentation import random_below
from FewShotSAMLib.methods.head import Head
from FewShotSAMLib.methods.interface import Exemplar, Schedule
from FewShotSAMLib.methods.loss import merged_unknown
from FewShotSAMLib.methods.optimiser import ScheduledAdamW
from FewShotSAMLib.methods.repeatable import repeatable
from FewShotSAMLib.sam.finite import finite_loss

CLEAN_SHARE = 0.5
"""Probability that a query is the slice itself rather than one of its augmented copies."""

REPORT_EVERY = 10
"""Steps between two reports of the loss."""


Draw = Callable[[torch.Generator], list[Exemplar]]
"""Draws the batch for one step."""


def fine_tune(
    head: Head,
    exemplars: Sequence[Exemplar],
    schedule: Schedule,
    seed: int,
    context: JobContext,
    draw: Draw | None = None,
    part: tuple[int, int] | None = None,
    stage: str = "fine-tune",
) -> float:
    """Train the head's trainable parameters in place; returns the mean loss of the last steps.

    Without `draw` each batch shows random views of different exemplars. For the progress, part: the steps done in
    earlier phases of the same training, and its total number of steps; stage: its name.

    The same seed gives the same weights on the same device with the same number of threads.
    """
    device = next(head.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    parameters = head.trainable()
    optimiser = ScheduledAdamW(head.paces(), schedule)
    losses: list[float] = []
    before, total = part or (0, schedule.steps)
    head.train()
    with repeatable(device):
        for step in range(schedule.steps):
            context.progress(stage, before + step, total)
            batch = draw(generator) if draw else draw_views(exemplars, schedule.batch, generator)
            loss = _loss(head, batch, generator, device)
            context.check()  # a step may take a second if the computer is busy
            optimiser.zero_grad()
            loss.backward()
            context.check()
            torch.nn.utils.clip_grad_norm_(parameters, schedule.max_gradient)
            optimiser.step()
            losses.append(finite_loss(float(loss.detach())))
            if step % REPORT_EVERY == 0:
                context.metric("loss", losses[-1])
    context.progress(stage, before + schedule.steps, total)
    head.eval()
    return sum(losses[-REPORT_EVERY:]) / max(1, len(losses[-REPORT_EVERY:]))


def _loss(head: Head, batch: Sequence[Exemplar], generator: torch.Generator, device: torch.device) -> torch.Tensor:
    embeddings = torch.stack([exemplar.embedding for exemplar in batch]).to(device).float()
    target = torch.stack([exemplar.target for exemplar in batch]).to(device).float()
    weight = torch.stack([exemplar.weight for exemplar in batch]).to(device).float()
    logits = head.training_logits(head.read(embeddings), [exemplar.slice_index for exemplar in batch], generator)
    return head.loss(merged_unknown(logits, [exemplar.unknown for exemplar in batch]), target, weight)


def draw_views(exemplars: Sequence[Exemplar], count: int, generator: torch.Generator) -> list[Exemplar]:
    """Random views of `count` different slices (of all slices if there are fewer)."""
    views: dict[int, list[Exemplar]] = {}
    for exemplar in exemplars:
        views.setdefault(exemplar.slice_index, []).append(exemplar)
    slices = list(views)
    order = torch.randperm(len(slices), generator=generator)[:count].tolist()
    return [_view(views[slices[position]], generator) for position in order]


def _view(views: list[Exemplar], generator: torch.Generator) -> Exemplar:
    if len(views) == 1 or float(torch.rand((), generator=generator)) < CLEAN_SHARE:
        return views[0]
    return views[1 + random_below(len(views) - 1, generator)]
