"""What the background process reports about the computer: an estimate for each encoder and method."""

import pytest
import torch

from FewShotSAMLib.core.pace import Work
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.estimates import Speed, encoder_estimate, inspect
from FewShotSAMLib.methods.registry import METHOD_NAMES
from FewShotSAMLib.sam.registry import get_spec
from FewShotSAMLib.workflow import Machine, Settings
from FewShotSAMLib.workflow.cost import run_seconds

SPEED = Speed(1e11, 0.03)
TEN, HUNDRED = (Work((1,) * count, count, starts=True) for count in (10, 100))


def training(encoder: str) -> dict[str, float]:
    paces = encoder_estimate(get_spec(encoder), SPEED, torch.device("cpu"))["paces"]
    return {name: pace["learning"] for name, pace in paces.items()}


def test_every_method_has_an_estimate_and_lora_in_a_large_encoder_takes_hours() -> None:
    small, large = training("tiny"), training("vit_b")
    assert set(small) == set(large) == set(METHOD_NAMES)
    for method in ("lora", "cheap-lunch"):
        assert large[method] > 3600 and small[method] < 120
        assert large[method] > 50 * large["few-shot"]
    assert large["few-shot"] < large["synthesis"] < 2 * large["few-shot"], "pairs are encoded besides the copies"
    assert training("vit_h")["lora"] > 3 * large["lora"]


@pytest.mark.usefixtures("full_size")
def test_what_is_told_is_understood() -> None:
    report = inspect({}, JobContext())
    machine = Machine.from_report(report)
    usual, slow = (run_seconds(machine, Settings(method=name, encoder="vit_b"), TEN) for name in ("few-shot", "lora"))
    found = next(each for each in report["encoders"] if each["name"] == "vit_b")
    pace = found["paces"]["few-shot"]
    each_slice = pace["encoding"] + pace["predicting"]
    assert usual == pytest.approx(found["start_seconds"] + pace["learning"] + 10 * each_slice)
    assert pace["continuing"] < pace["learning"]
    assert slow is not None and slow > 20 * usual
    quick = {name: run_seconds(machine, Settings(method=name), HUNDRED) or 0.0 for name in METHOD_NAMES}
    assert min(quick, key=lambda name: quick[name]) == "pixel-classifier"
    assert 0 < quick["pixel-classifier"] < 0.5 * quick["few-shot"]
