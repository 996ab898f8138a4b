"""Slices are predicted and encoded on all cores at once, each by one: the answers are those of a single core."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from FewShotSAMLib.bundled.fusion_head import FusionHead
from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.sam.encoder import load_encoder
from FewShotSAMLib.sam.registry import get_spec

_PREDICT = FusionHead.predict


def _watched(seen: set[tuple[int, int]]) -> Any:
    def predict(*given: Any) -> torch.Tensor:
        seen.add((threading.get_ident(), torch.get_num_threads()))
        return _PREDICT(*given)

    return predict


@pytest.fixture
def cores() -> Iterator[Any]:
    """Sets how many threads torch uses, as if the computer had as many cores."""
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
    for count in (2, 5):  # how many slices a batch has may change a last bit
        assert np.mean(answers[1] != answers[count]) < 1e-3 and answers[count].any()


def test_what_goes_wrong_on_a_core_is_told(guided: Any, cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> torch.Tensor:
        return _PREDICT(*given) * torch.nan

    monkeypatch.setattr(FusionHead, "predict", broken)
    cores(2)
    with pytest.raises(FewShotSAMError, match="prediction"):
        guided.run(JobContext(), steps=0)
    assert torch.get_num_threads() == 2


def test_as_many_slices_as_cores_are_encoded_at_once(cores: Any) -> None:
    encoder, found = load_encoder(get_spec("tiny"), device="cpu"), []
    images = torch.rand(3, 3, encoder.image_size, encoder.image_size) * 255
    for count in (1, 2, 3):
        cores(count)
        assert encoder.gainful_batch == count
        found.append(encoder.encode(images))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
