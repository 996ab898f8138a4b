"""The duration of a run follows the method, the encoder and the number of slices."""

import pytest

from FewShotSAMLib.workflow import Device, EncoderState, Machine, Settings
from FewShotSAMLib.workflow.duration import run_seconds

TRAINING = {"few-shot": 6.0, "autosam-linear": 2.0, "lora": 5000.0}
SLICE = {"few-shot": 0.5, "autosam-linear": 0.1, "lora": 0.1}
MACHINE = Machine(
    (Device("cuda:0", "GPU", None, None), Device("cpu", "CPU", None, None)),
    "cuda:0",
    (
        EncoderState("tiny", "small", "", 0, True, 10, 4.0, TRAINING, SLICE),
        EncoderState("vit_b", "large", "", 0, False, 10, 4.0, {"few-shot": 16.0}, {"few-shot": 2.0}),
    ),
    0,
    0,
    "",
    None,
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), 4 + 6 + 20 * 0.5),
        (Settings(method="lora"), 4 + 5000 + 20 * 0.1),
        (Settings(method="autosam-linear", device="cuda:0"), 4 + 2 + 20 * 0.1),
        (Settings(encoder="vit_b"), 4 + 16 + 20 * 2.0),
        (Settings(method="unheard-of"), None),
        (Settings(device="cpu"), None),
        (Settings(encoder="unheard-of"), None),
    ],
)
def test_seconds_of_a_run(settings: Settings, expected: float | None) -> None:
    assert run_seconds(MACHINE, settings, 20) == expected


def test_after_a_run_its_own_pace_is_the_estimate() -> None:
    pace = {"method": "few-shot", "encoder": "tiny", "device": "cuda:0", "training_seconds": 3.0, "slice_seconds": 0.05}
    assert run_seconds(MACHINE.with_pace(pace), Settings(), 20) == 4 + 3 + 20 * 0.05
    assert run_seconds(MACHINE.with_pace(pace), Settings(method="lora"), 20) == 4 + 5000 + 20 * 0.1
    for unlike in (None, pace | {"device": "cpu"}, pace | {"encoder": "vit_h"}):
        assert MACHINE.with_pace(unlike) == MACHINE
