"""What a run will cost, before it starts."""

import pytest

from FewShotSAMLib.workflow import Device, EncoderState, Machine, PaintedSlice, Settings
from FewShotSAMLib.workflow.amounts import format_bytes, format_seconds
from FewShotSAMLib.workflow.cost import cost_of, slices_to_encode

CPU = Device("cpu", "Processor, 8 cores", 16_000_000_000, None)
GPU = Device("cuda:0", "NVIDIA RTX 4070", 12_000_000_000, 1_500_000_000)
ENCODERS = (
    EncoderState("tiny", "small", "Apache-2.0", 0, True, 900_000_000, 4.0, {"few-shot": 6.0}, {"few-shot": 0.5}),
    EncoderState(
        *("vit_b", "large", "Apache-2.0", 375_000_000, True, 2_900_000_000, 5.0),
        training_seconds={"few-shot": 15.0, "lora": 7200.0},
        slice_seconds={"few-shot": 2.0, "lora": 2.0},
    ),
)


def machine(*devices: Device, free: int | None = 6_000_000_000) -> Machine:
    return Machine(devices, devices[0].name, ENCODERS, 0, 0, "", free)


def test_on_the_processor() -> None:
    cost = cost_of(machine(CPU), Settings(), 40)
    assert cost is not None and cost.time is not None and cost.time.is_problem
    assert "about 30 s for 40 slices on the processor" in cost.time.text
    assert cost.memory.text == "Memory: needs 900 MB, 6.0 GB free." and not cost.memory.is_problem
    unknown = cost_of(machine(CPU), Settings(), 0)
    assert unknown is not None and unknown.time is not None and "slower" in unknown.time.text


def test_the_method_counts() -> None:
    for method, time in (("few-shot", "2 min"), ("lora", "2 h 1 min")):
        cost = cost_of(machine(CPU), Settings(method=method, encoder="vit_b"), 40)
        assert cost is not None and cost.time is not None and f"about {time} for 40 slices" in cost.time.text


def test_on_a_graphics_card() -> None:
    cost = cost_of(machine(GPU, CPU), Settings(encoder="vit_b"), 40)
    assert cost is not None and cost.time is not None and not cost.time.is_problem
    assert cost.time.text == "About 2 min for 40 slices on NVIDIA RTX 4070."
    assert cost.memory.is_problem and "smaller encoder" in cost.memory.text
    slow = cost_of(machine(GPU, CPU), Settings(device="cpu"), 40)
    assert slow is not None and slow.time is not None and "40" not in slow.time.text


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert cost_of(None, Settings(), 40) is None
    assert cost_of(machine(CPU), Settings(device="cuda:0"), 40) is None
    assert cost_of(machine(CPU), Settings(encoder="unheard-of"), 40) is None
    cost = cost_of(machine(CPU, free=None), Settings(), 40)
    assert cost is not None and "? free" in cost.memory.text and not cost.memory.is_problem


@pytest.mark.parametrize(("limits", "count"), [(None, 20), ((3, 3), 1), ((0, 19), 20), ((5, 4), 0)])
def test_slices_to_encode(limits: tuple[int, int] | None, count: int) -> None:
    assert slices_to_encode(limits, 20) == count


def test_amounts() -> None:
    assert [format_bytes(each) for each in (None, 375_042_383, 1_249_000_000)] == ["?", "375 MB", "1.2 GB"]
    assert [format_seconds(each) for each in (0.2, 89, 100, 4800)] == ["1 s", "89 s", "2 min", "1 h 20 min"]


def test_slices_on_which_nothing_can_be_are_not_counted() -> None:
    """As the engine leaves them out: of 200 slices 40 were segmented, and the line spoke of 200."""
    worked_on = [
        *(PaintedSlice(index, (), True, True) for index in (40, 81)),
        *(PaintedSlice(index, ("a",)) for index in (45, 60, 75)),
        PaintedSlice(100, ("a",), ticked=False),
    ]
    assert slices_to_encode(None, 200, worked_on) == 81 - 40 - 1 - 3
    assert slices_to_encode((50, 199), 200, worked_on) == 81 - 50 - 2
    assert slices_to_encode(None, 200, worked_on[2:5]) == 200 - 3
    assert slices_to_encode(None, 200, worked_on[:1]) == 0
