"""Slices are predicted and encoded in parallel, one per core, with the same answers as on a single core."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.core.errors import CancelledError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.plane import slice_plane
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.engine.embeddings import SliceEmbeddings
from FewShotSAMLib.engine.predict import IN_FLIGHT, Prediction, predict
from FewShotSAMLib.methods.interface import Predictor, State
from FewShotSAMLib.sam.encoder import load_encoder
from FewShotSAMLib.sam.fast.parallel import ComputedOnce
from FewShotSAMLib.sam.framing import Framing
from FewShotSAMLib.sam.registry import get_spec

_PREDICT = FusionHead.predict


def _watched(seen: set[tuple[int, int]]) -> Any:
    def predict(*given: Any) -> torch.Tensor:
        seen.add((threading.get_ident(), torch.get_num_threads()))
        return _PREDICT(*given)

    return predict


@pytest.fixture
def cores() -> Iterator[Any]:
    """Sets how many threads torch uses, as if the computer had that many cores."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_cores_share_the_slices_and_change_no_answer(guided: Any, cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, path = {}, guided.folder / "classes.npy"
    for count in (1, 2, 5):
        seen = set[tuple[int, int]]()
        monkeypatch.setattr(FusionHead, "predict", _watched(seen))
        cores(count)
        report = guided.run(JobContext(), steps=0, classes=str(path), no_cache=True)
        assert torch.get_num_threads() == count
        answers[count] = np.load(path)
        threads, each = zip(*seen, strict=True)
        assert set(each) == {1} and (set(threads) == {threading.get_ident()}) == (count == 1)
        assert len(set(threads)) <= count and report["next_slices"]
    for count in (2, 5):  # the batch size may change a last bit
        assert np.mean(answers[1] != answers[count]) < 1e-3 and answers[count].any()


def _blank(count: int) -> Prediction:
    return Prediction(np.zeros((count, 2, 2), np.uint8), None, {})


class Idle(Predictor):
    """Three passes that find nothing; fails at one slice in one of them."""

    passes = 3

    def __init__(self, broken: tuple[int, int] | None = None) -> None:
        self.broken = broken

    def predict(self, embeddings: torch.Tensor, slices: Sequence[int], number: int = 0) -> torch.Tensor:
        if self.broken is not None and number == self.broken[1] and self.broken[0] in slices:
            time.sleep(0.02)
            raise ZeroDivisionError
        return torch.zeros(len(slices), 2, 2, 2)

    def state(self) -> State:
        raise NotImplementedError


class Waiting(Idle):
    """Answers nothing, and fails if a pass begins before the previous one has finished on the neighbouring slices."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.through: list[set[int]] = [set() for _ in range(self.passes)]
        self.most, self._at_work = 0, 0
        self._all = set(range(count))

    def predict(self, embeddings: torch.Tensor, slices: Sequence[int], number: int = 0) -> torch.Tensor:
        beside = {index + by for index in slices for by in (-1, 0, 1)} & self._all
        assert embeddings.flatten().tolist() == list(slices)
        assert number == 0 or beside <= self.through[number - 1], (number, slices)
        assert not self.through[number] & {*slices}, "each slice once in each pass"
        self._at_work += len(slices)
        self.most = max(self.most, self._at_work)
        time.sleep(0.001)
        self._at_work -= len(slices)
        self.through[number].update(slices)
        return super().predict(embeddings, slices, number)


class Numbered:
    """Embeddings that contain their slice's number."""

    device, framing = torch.device("cpu"), Framing(slice_plane(Geometry((2, 2, 100)), 0), (0, 2, 0, 2), 4)

    def slices(self, indices: Sequence[int]) -> torch.Tensor:
        return torch.tensor(indices).float().view(-1, 1, 1, 1)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9, 17, 40, 100])
@pytest.mark.parametrize("at_once", [1, 2, 5, 40])
def test_a_pass_follows_the_one_before_it_on_the_slices_beside(count: int, at_once: int, cores: Any) -> None:
    cores(at_once)
    predictor, heard = Waiting(count), list[int]()
    prediction, embeddings = _blank(count), cast(SliceEmbeddings, Numbered())
    predict(predictor, embeddings, range(count), prediction, JobContext(), heard.extend)
    assert predictor.most <= IN_FLIGHT
    assert predictor.through == [set(range(count))] * 3 and heard == sorted(prediction.slices) == list(range(count))


class Enough(JobContext):
    """Is cancelled once this many slices were announced."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.heard = number, list[int]()

    def hear(self, indices: Sequence[int]) -> None:
        self.heard.extend(indices)

    def check(self) -> None:
        if len(self.heard) >= self.number:
            raise CancelledError("enough")


@pytest.mark.timeout(60)
def test_a_cancelled_prediction_ends(cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the pool is emptied, a thread may take a task whose predecessors never run."""
    monkeypatch.setattr("FewShotSAMLib.sam.fast.parallel._CHECK_SECONDS", 0.01)
    monkeypatch.setattr("FewShotSAMLib.engine.predict.BATCH", 1)
    cores(4)
    embeddings = cast(SliceEmbeddings, Numbered())
    for number in range(1, 11):
        context = Enough(number)
        with pytest.raises(CancelledError):
            predict(Idle(), embeddings, range(2000), _blank(2000), context, context.hear)
        assert context.heard == list(range(len(context.heard))) != list(range(2000))


@pytest.mark.parametrize("broken", range(3))
def test_what_went_wrong_is_told_and_not_what_came_of_it(broken: int, cores: Any) -> None:
    cores(4)
    for place in (0, 7, 39):
        predictor, heard = Idle((place, broken)), list[int]()
        with pytest.raises(ZeroDivisionError):
            predict(predictor, cast(SliceEmbeddings, Numbered()), range(40), _blank(40), JobContext(), heard.extend)
        assert place not in heard


def test_what_is_computed_once_is_waited_for_only_where_it_is_needed() -> None:
    begun, may_end, calls = threading.Event(), threading.Event(), list[int]()

    def compute() -> int:
        calls.append(threading.get_ident())
        begun.set()
        assert may_end.wait(20)
        return 7

    once = ComputedOnce(compute)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once)
        assert begun.wait(20)
        once.begin()  # another thread is working on it
        second = pool.submit(once)
        assert not second.done()
        may_end.set()
        assert first.result(20) == second.result(20) == once() == 7
    once.begin()
    assert len(calls) == 1


def test_what_is_computed_once_is_tried_again_where_it_failed() -> None:
    answers = iter([ValueError("no"), 3])

    def compute() -> int:
        if isinstance(answer := next(answers), ValueError):
            raise answer
        return answer

    once = ComputedOnce(compute)
    with pytest.raises(ValueError, match="no"):
        once.begin()
    assert once() == 3


def test_slices_damaged_before_they_are_read_are_encoded_again(
    guided: Any, cores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the predicting threads, one at a time: on the first slice the encoder's precision is checked."""
    cores(3)
    options = {"steps": 0, "cache": str(tmp_path / "cache"), "classes": str(guided.folder / "classes.npy")}
    guided.run(JobContext(), **options)
    expected = np.load(guided.folder / "classes.npy")

    def damaging(*given: Any, **named: Any) -> None:
        for file in (tmp_path / "cache").rglob("*.h5"):
            data = bytearray(file.read_bytes())
            for position in range(len(data) // 8, len(data), 1 << 12):
                data[position] ^= 255
            file.write_bytes(bytes(data))
        predict(*given, **named)

    monkeypatch.setattr("FewShotSAMLib.engine.propagation.predict", damaging)
    for _ in range(3):
        context = JobContext()
        report = guided.run(context, **options)
        assert report["encoder"]["slices_encoded"] > 0 and any("damaged" in each for each in context.warnings)
        assert np.array_equal(np.load(guided.folder / "classes.npy"), expected)


def test_an_encoder_takes_one_thread_at_a_time(cores: Any) -> None:
    cores(1)
    for _ in range(4):
        encoder = load_encoder(get_spec("tiny"), device="cpu", precision="bf16")
        images = torch.rand(1, 3, encoder.image_size, encoder.image_size) * 255
        with ThreadPoolExecutor(4) as pool:
            found = [each.result() for each in [pool.submit(encoder.encode, images) for _ in range(4)]]
        assert all(torch.equal(each, found[0]) for each in found)


def test_as_many_slices_as_cores_are_encoded_at_once(cores: Any) -> None:
    encoder, found = load_encoder(get_spec("tiny"), device="cpu"), []
    images = torch.rand(3, 3, encoder.image_size, encoder.image_size) * 255
    for count in (1, 2, 3):
        cores(count)
        assert encoder.gainful_batch == count
        found.append(encoder.encode(images))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
