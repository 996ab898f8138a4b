"""How long each method trains, and how training through the encoder is separated from training on cached embeddings."""

import pytest

from FewShotSAMLib.methods.interface import Schedule, Training
from FewShotSAMLib.methods.registry import METHODS, get_method
from FewShotSAMLib.sam.registry import Architecture, get_spec

SAM, TINY = get_spec("vit_b").architecture, get_spec("tiny").architecture


def plan_of(name: str, architecture: Architecture, steps: int | None = None, warm: bool = False) -> Training:
    return get_method(name).load().plan(architecture, False, warm, steps)


@pytest.mark.parametrize("name", [each.name for each in METHODS if not each.load().solved])
def test_sams_encoders_and_published_code_keep_their_schedule(name: str) -> None:
    method = get_method(name).load()
    for architecture, faithful in ((SAM, False), (TINY, True)):
        plan = method.plan(architecture, faithful, False, None)
        schedule = plan.adapting if method.adapts_encoder else plan.on_cache
        assert (plan.on_cache is None) == method.adapts_encoder
        rate = 5e-3 if method.name == "autosam-linear" and not faithful else 5e-4
        assert schedule == Schedule(200, learning_rate=rate)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("architecture", [SAM, TINY], ids=["sam", "tiny"])
def test_what_is_solved_has_no_steps(architecture: Architecture, warm: bool) -> None:
    plan = plan_of("pixel-classifier", architecture, warm=warm)
    assert plan.steps == 0 and plan.on_cache is not None, "it learns from what is cached"


@pytest.mark.parametrize("steps", [None, 1, 2, 7])
def test_with_the_bundled_encoder_lora_begins_on_the_cache(steps: int | None) -> None:
    plan = plan_of("lora", TINY, steps)
    assert plan.on_cache is not None and plan.adapting is not None and plan.adapting.steps >= 1
    assert plan.on_cache.steps + plan.adapting.steps == plan.steps == (steps or plan.steps)
    if steps is None:
        assert 0 < plan.adapting.steps < plan.on_cache.steps
    assert plan.adapting.learning_rate < plan.on_cache.learning_rate, "begun again at the full rate, it forgot"
    assert plan_of("synthesis", TINY, steps).adapting is None


def test_an_adapted_encoder_goes_on_being_adapted() -> None:
    plan = plan_of("cheap-lunch", TINY, warm=True)
    assert plan.on_cache is None and plan.adapting is not None and plan.adapting.learning_rate < 5e-4
