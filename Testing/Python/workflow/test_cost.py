"""What a run will cost, before it starts: its duration depends on the method, the encoder and the number of slices."""

import pytest

from FewShotSAMLib.core.pace import Pace, Work
from FewShotSAMLib.workflow import Device, EncoderState, Machine, PaintedSlice, Settings
from FewShotSAMLib.workflow.cost import cost_of, format_bytes, format_seconds, run_seconds
from FewShotSAMLib.workflow.scene import Target
from FewShotSAMLib.workflow.work import LastModel, learns_like, work_of

CPU = Device("cpu", "Processor, 8 cores", 16_000_000_000, None)
GPU = Device("cuda:0", "NVIDIA RTX 4070", 12_000_000_000, 1_500_000_000)
PACES = {
    "few-shot": Pace(6.0, 2.0, 0.1, 0.4, learning_share=0.5, segment_share=0.5),
    "autosam-linear": Pace(2.0, 1.0, 0.1, 0.0),
    "lora": Pace(5000.0, 900.0, 0.1, 0.0),
}
LARGE_PACES = {"few-shot": Pace(15.0, 5.0, 1.9, 0.1), "lora": Pace(7200.0, 900.0, 1.9, 0.1)}
ENCODERS = (
    EncoderState("tiny", "small", "Apache-2.0", 0, True, 900_000_000, 4.0, PACES),
    EncoderState("vit_b", "large", "Apache-2.0", 375_000_000, True, 2_900_000_000, 5.0, LARGE_PACES),
)
FORTY, TWENTY = (Work(asked=(1,) * count, encoded=count, starts=True) for count in (40, 20))


def machine(*devices: Device, free: int | None = 6_000_000_000) -> Machine:
    return Machine(devices, devices[0].name, ENCODERS, 0, 0, "", free)


def test_on_the_processor() -> None:
    cost = cost_of(machine(CPU), Settings(), FORTY)
    assert cost is not None and cost.time is not None and cost.time.is_problem
    assert "about 30 s for 40 slices on the CPU" in cost.time.text
    assert cost.memory.text == "Memory: needs 900 MB, 6.0 GB free." and not cost.memory.is_problem
    unknown = cost_of(machine(CPU), Settings(), None)
    assert unknown is not None and unknown.time is not None and "slower" in unknown.time.text


def test_the_method_counts() -> None:
    for method, time in (("few-shot", "2 min"), ("lora", "2 h 1 min")):
        cost = cost_of(machine(CPU), Settings(method=method, encoder="vit_b"), FORTY)
        assert cost is not None and cost.time is not None and f"about {time} for 40 slices" in cost.time.text


def test_on_a_graphics_card() -> None:
    cost = cost_of(machine(GPU, CPU), Settings(encoder="vit_b"), FORTY)
    assert cost is not None and cost.time is not None and not cost.time.is_problem
    assert cost.time.text == "About 2 min for 40 slices on NVIDIA RTX 4070."
    assert cost.memory.is_problem and "smaller encoder" in cost.memory.text
    slow = cost_of(machine(GPU, CPU), Settings(device="cpu"), FORTY)
    assert slow is not None and slow.time is not None and "40" not in slow.time.text


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert cost_of(None, Settings(), FORTY) is None
    assert cost_of(machine(CPU), Settings(device="cuda:0"), FORTY) is None
    assert cost_of(machine(CPU), Settings(encoder="unheard-of"), FORTY) is None
    cost = cost_of(machine(CPU, free=None), Settings(), FORTY)
    assert cost is not None and "? free" in cost.memory.text and not cost.memory.is_problem


def test_nothing_is_said_of_a_run_that_has_nothing_to_ask() -> None:
    cost = cost_of(machine(CPU), Settings(), Work((), 0, continues=True, corrects=True))
    assert cost is not None and cost.time is None


@pytest.mark.parametrize(("limits", "count"), [(None, 19), ((3, 3), 1), ((0, 19), 19), ((5, 4), 0), ((7, 7), 0)])
def test_slices_to_predict(limits: tuple[int, int] | None, count: int) -> None:
    assert len(work_of([PaintedSlice(7, ("a",))], limits, 20).asked) == count
    limits = limits or (0, 19)
    assert len(work_of([], limits, 20).asked) == max(0, limits[1] + 1 - limits[0]), "nothing is painted yet"


def test_amounts() -> None:
    assert [format_bytes(each) for each in (None, 375_042_383, 1_249_000_000)] == ["?", "375 MB", "1.2 GB"]
    assert [format_seconds(each) for each in (0.2, 89, 100, 4800)] == ["1 s", "89 s", "2 min", "1 h 20 min"]


def test_slices_on_which_nothing_can_be_are_not_counted() -> None:
    """As the engine leaves them out: 40 of 200 slices were segmented, but the line spoke of 200."""
    worked_on = [
        *(PaintedSlice(index, (), True, True) for index in (40, 81)),
        *(PaintedSlice(index, ("a",)) for index in (45, 60, 75)),
        PaintedSlice(100, ("a",), ticked=False),
    ]

    def count(limits: tuple[int, int] | None, slices: list[PaintedSlice]) -> int:
        return len(work_of(slices, limits, 200).asked)

    assert count(None, worked_on) == 81 - 40 - 1 - 3
    assert count((50, 199), worked_on) == 81 - 50 - 2
    assert count(None, worked_on[2:5]) == 200 - 3
    assert count(None, worked_on[:1]) == 0


def test_the_work_knows_the_run_before() -> None:
    settings, target = Settings(), Target("v", "s")
    slices = [
        PaintedSlice(0, (), True, True),
        PaintedSlice(3, ("a",)),
        PaintedSlice(6, ("a", "b")),
        PaintedSlice(8, ("b",)),
    ]
    like = learns_like(target, 0, settings)
    fresh = work_of(slices, None, 10, like)
    assert fresh == Work(asked=(1, 1, 2, 2, 2, 1), encoded=10, segments=2), "1, 2, 4, 5, 7, 9, and the four themselves"
    learned = LastModel(like, ("b", "a"), frozenset(range(10)))
    assert work_of(slices, None, 10, like, learned) == Work(fresh.asked, 0, 2, continues=True)
    fewer = LastModel(like, ("a", "b"), frozenset(range(9)))
    assert work_of([*slices, PaintedSlice(9, ("a",))], None, 10, like, fewer).encoded == 1
    assert not work_of(slices[:2], None, 10, like, learned).continues, "other segments"
    other = learns_like(target, 0, Settings(method="lora"))
    assert work_of(slices, None, 10, other, learned, starts=True) == Work(fresh.asked, 10, 2, starts=True)


def test_a_correction_asks_only_beside_what_changed() -> None:
    like, slices = (1,), [PaintedSlice(2, ("a",)), PaintedSlice(5, ("a",)), PaintedSlice(8, ("a",))]
    learned = LastModel(like, ("a",), frozenset(range(10)), tuple(slices))
    more = sorted([*slices, PaintedSlice(6, ("a",))], key=lambda each: each.index)
    work = work_of(more, None, 10, like, learned)
    assert work == Work((1,), 0, 1, continues=True, corrects=True), "slice 7; on 6 all is known"
    assert work_of(slices[:2], None, 10, like, learned).asked == (1,) * 4, "6 to the end"
    pace = Pace(learning=30.0, continuing=10.0, encoding=1.0, predicting=0.5)
    assert pace.seconds(work) == 0.5
    assert not work_of(more, None, 10, (2,), learned).corrects, "other settings"


def test_a_correction_asks_each_segment_up_to_its_own_slices() -> None:
    """A slice painted only for another segment bounds nothing: 14 slices were announced, and 20 predicted again."""
    slices = [
        PaintedSlice(2, ("a",), unknown_ids=("b",)),
        PaintedSlice(3, ("b",), unknown_ids=("a",)),
        PaintedSlice(5, ("a", "b")),
        PaintedSlice(7, ("b",), unknown_ids=("a",)),
        PaintedSlice(11, ("a",), unknown_ids=("b",)),
    ]
    learned = LastModel((1,), ("a", "b"), frozenset(range(14)), tuple(slices))
    now = [*slices[:3], PaintedSlice(6, ("a", "b")), *slices[3:]]
    assert work_of(now, None, 14, (1,), learned).asked == (1,) * 4, "7 to 10, for a; b ends at 7"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), 4 + 6 + 20 * 0.5),
        (Settings(method="lora"), 4 + 5000 + 20 * 0.1),
        (Settings(method="autosam-linear", device="cuda:0"), 4 + 2 + 20 * 0.1),
        (Settings(encoder="vit_b"), 5 + 15 + 20 * 2.0),
        (Settings(method="unheard-of"), None),
        (Settings(device="cpu"), None),
        (Settings(encoder="unheard-of"), None),
    ],
)
def test_seconds_of_a_run(settings: Settings, expected: float | None) -> None:
    assert run_seconds(machine(GPU, CPU), settings, TWENTY) == expected


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
    """A run that continues from the last one was estimated to take as long as that: 28 s estimated, 17 s taken."""
    assert run_seconds(machine(GPU, CPU), Settings(), work) == pytest.approx(expected)


def test_after_a_run_its_own_pace_is_the_estimate() -> None:
    known = machine(GPU, CPU)
    pace = {"method": "few-shot", "encoder": "tiny", "device": "cuda:0", "learning": 3.0, "predicting": 0.05}
    assert run_seconds(known.with_pace(pace), Settings(), TWENTY) == pytest.approx(4 + 3 + 20 * (0.1 + 0.05))
    assert run_seconds(known.with_pace(pace), Settings(method="lora"), TWENTY) == 4 + 5000 + 20 * 0.1
    for unlike in (None, pace | {"device": "cpu"}, pace | {"encoder": "vit_h"}):
        assert known.with_pace(unlike) == known
