"""The duration of a run follows the method, the encoder and the number of slices."""

import pytest

from FewShotSAMLib.core.pace import Pace, Work
from FewShotSAMLib.workflow import Device, EncoderState, Machine, Settings
from FewShotSAMLib.workflow.cost import run_seconds

PACES = {
    "few-shot": Pace(6.0, 2.0, 0.1, 0.4, learning_share=0.5, segment_share=0.5),
    "autosam-linear": Pace(2.0, 1.0, 0.1, 0.0),
    "lora": Pace(5000.0, 900.0, 0.1, 0.0),
}
TWENTY = Work(asked=(1,) * 20, encoded=20, starts=True)
MACHINE = Machine(
    (Device("cuda:0", "GPU", None, None), Device("cpu", "CPU", None, None)),
    "cuda:0",
    (
        EncoderState("tiny", "small", "", 0, True, 10, 4.0, PACES),
        EncoderState("vit_b", "large", "", 0, False, 10, 4.0, {"few-shot": Pace(16.0, 5.0, 1.9, 0.1)}),
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
    assert run_seconds(MACHINE, settings, TWENTY) == expected


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (Work((1,) * 20, 23), 6 + 2.3 + 8),
        (Work((1,) * 20, 0, continues=True), 2 + 8),
        (Work((1,) * 19, 1, continues=True), 2 + 0.1 + 19 * 0.4),
        (Work((3, 3, 1), 0, segments=3, continues=True), 2 * 2 + (2 + 2 + 1) * 0.4),
    ],
)
def test_a_run_takes_what_it_has_to_do(work: Work, expected: float) -> None:
    """A run that goes on from the last one was told to take as long as that: 28 s told, 17 s taken."""
    assert run_seconds(MACHINE, Settings(), work) == pytest.approx(expected)


def test_after_a_run_its_own_pace_is_the_estimate() -> None:
    pace = {"method": "few-shot", "encoder": "tiny", "device": "cuda:0", "learning": 3.0, "predicting": 0.05}
    assert run_seconds(MACHINE.with_pace(pace), Settings(), TWENTY) == pytest.approx(4 + 3 + 20 * (0.1 + 0.05))
    assert run_seconds(MACHINE.with_pace(pace), Settings(method="lora"), TWENTY) == 4 + 5000 + 20 * 0.1
    for unlike in (None, pace | {"device": "cpu"}, pace | {"encoder": "vit_h"}):
        assert MACHINE.with_pace(unlike) == MACHINE
