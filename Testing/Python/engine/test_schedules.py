"""How long each method trains, and how what goes through the encoder is parted from what does not."""

import pytest

from FewShotSAMLib.engine.fine_tune import Schedule
from FewShotSAMLib.engine.schedules import plan_training
from FewShotSAMLib.methods.registry import METHODS, get_method


@pytest.mark.parametrize("method", [each for each in METHODS if not each.solved], ids=lambda method: method.name)
def test_sams_encoders_and_published_code_keep_their_schedule(method: object) -> None:
    for compact, faithful in ((False, False), (True, True)):
        plan = plan_training(method, compact, faithful, False, None)
        schedule = plan.adapting if method.adapts_encoder else plan.on_cache
        assert (plan.on_cache is None) == method.adapts_encoder
        rate = 5e-3 if method.name == "autosam-linear" and not faithful else 5e-4
        assert schedule == Schedule(200, learning_rate=rate)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("compact", [False, True])
def test_what_is_solved_has_no_steps(compact: bool, warm: bool) -> None:
    plan = plan_training(get_method("pixel-classifier"), compact, False, warm, None)
    assert plan.steps == 0 and plan.on_cache is not None, "it learns from what is cached"


@pytest.mark.parametrize("steps", [None, 1, 2, 7])
def test_with_the_bundled_encoder_lora_begins_on_the_cache(steps: int | None) -> None:
    plan = plan_training(get_method("lora"), True, False, False, steps)
    assert plan.on_cache is not None and plan.adapting is not None and plan.adapting.steps >= 1
    assert plan.on_cache.steps + plan.adapting.steps == plan.steps == (steps or plan.steps)
    if steps is None:
        assert 0 < plan.adapting.steps < plan.on_cache.steps
    assert plan.adapting.learning_rate < plan.on_cache.learning_rate, "begun anew at the full rate, it forgot"
    assert plan_training(get_method("synthesis"), True, False, False, steps).adapting is None


def test_an_adapted_encoder_goes_on_being_adapted() -> None:
    plan = plan_training(get_method("cheap-lunch"), True, False, True, None)
    assert plan.on_cache is None and plan.adapting is not None and plan.adapting.learning_rate < 5e-4
