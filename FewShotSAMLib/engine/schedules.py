"""How long and how fast each method trains; the papers state no schedules for a few slices, so the numbers are ours."""

import math
from dataclasses import dataclass, replace

from FewShotSAMLib.engine.fine_tune import Schedule
from FewShotSAMLib.methods.registry import Method

COLD_STEPS = 200
WARM_STEPS = 30
WARM_LEARNING_RATE = 2e-4
"""Lower than from scratch, so that what was learned before is not lost."""

COMPACT_STEPS = 150
"""With the bundled encoder, where no method says otherwise. Tuned on synthetic volumes alone."""

ADAPTING_SHARE = 0.25
"""With the bundled encoder LoRA is the last quarter of the training. It starts as no change at all, so that until then
the encoder's embeddings can come from the cache, which makes a step several times as fast."""
ADAPTING_LEARNING_RATE = WARM_LEARNING_RATE
"""By then the decoder has learned already, as after a warm start: begun anew at the full rate, it forgot."""


@dataclass(frozen=True)
class Training:
    """on_cache: steps on embeddings of the encoder as it is, if any; adapting: after it, those through an encoder that
    changes, if any."""

    on_cache: Schedule | None
    adapting: Schedule | None

    @property
    def steps(self) -> int:
        """All of them."""
        return sum(schedule.steps for schedule in (self.on_cache, self.adapting) if schedule is not None)


def plan_training(method: Method, compact: bool, faithful: bool, warm: bool, steps: int | None) -> Training:
    """The training of a method; steps: as the user asked, None for ours.

    compact: with the bundled encoder; faithful: as the method's authors published it; warm: from an earlier model.
    """
    if method.solved:
        return Training(Schedule(0), None)
    if warm:
        schedule = Schedule(WARM_STEPS if steps is None else steps, learning_rate=WARM_LEARNING_RATE)
    elif compact and not faithful:
        return _compact(method, (method.compact_steps or COMPACT_STEPS) if steps is None else steps)
    else:
        schedule = Schedule(COLD_STEPS if steps is None else steps)
        if method.learning_rate is not None and not faithful:
            schedule = replace(schedule, learning_rate=method.learning_rate)
    return Training(None, schedule) if method.adapts_encoder else Training(schedule, None)


def _compact(method: Method, steps: int) -> Training:
    rate = method.compact_learning_rate or method.learning_rate or Schedule.learning_rate
    if not method.adapts_encoder:
        return Training(Schedule(steps, learning_rate=rate), None)
    adapting = math.ceil(ADAPTING_SHARE * steps)
    return Training(
        Schedule(steps - adapting, learning_rate=rate), Schedule(adapting, learning_rate=ADAPTING_LEARNING_RATE)
    )
