"""Whole jobs on a simulated CUDA device: no tensor is left on the CPU where CUDA would refuse it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from engine.pretended_cuda import WrongDeviceError, pretended_cuda

from FewShotSAMLib.engine.context import JobContext
from FewShotSAMLib.methods.registry import METHOD_NAMES


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with pretended_cuda():
        yield


def run(case: Any, context: JobContext | None = None, **changes: Any) -> dict[str, Any]:
    """Run a job on the simulated device, predicting two slices that are not painted."""
    given = {"range": [3, 5], "device": "cuda", "cache": None, "no_cache": True}
    report = case.run(context, **given, save_model=str(case.folder / "m.fewshot"), **changes)
    assert report["encoder"]["device"] == "cuda:0" and report["encoder"]["slices_encoded"] > 0 and report["slices"]
    return report


def run_elsewhere(case: Any) -> None:
    """Segment another volume with the last job's model."""
    given = {"device": "cuda", "precision": None, "cache": None, "no_cache": True, "range": [3, 5]}
    assert case.apply(case.folder / "m.fewshot", **given)["slices"]


def test_the_bundled_model_its_network_and_a_correction(guided: Any) -> None:
    """Both passes of the decoder, training and use of the volume's networks, and some that continue from others."""
    context = JobContext()
    run(guided, context, steps=1)
    run(guided, context, steps=1, empty_slices=[0, 1])
    run_elsewhere(guided)
    run(guided, steps=1, warm_start=str(guided.folder / "m.fewshot"))


def test_regions_of_their_own(guided: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FewShotSAMLib.core.region.FINER", 0)
    run(guided, steps=1)


def test_lora_on_the_bundled_encoder(guided: Any) -> None:
    run(guided, method="lora", steps=2)
    run_elsewhere(guided)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_method_on_the_layout_of_vit_b(method: str, case: Any) -> None:
    run(case, method=method, precision="fp16", steps=None if method == "pixel-classifier" else 2)
    run_elsewhere(case)


def _matrix() -> torch.Tensor:
    return torch.ones(2, 2, device="cuda")


FAULTS: dict[str, Callable[[], Any]] = {
    "a sum of both": lambda: _matrix() + torch.ones(2, 2),
    "a product of both": lambda: _matrix() @ torch.ones(2, 2),
    "pieces of both": lambda: torch.stack([_matrix(), torch.ones(2, 2)]),
    "into a part": lambda: _matrix().__setitem__(0, torch.ones(2)),
    "rows by an index of the CPU": lambda: _matrix().index_select(0, torch.tensor([1])),
    "rows of the CPU by an index of CUDA": lambda: torch.ones(2, 2)[_matrix()[0].long()],
    "a layer of the CPU": lambda: torch.nn.Linear(2, 2)(_matrix()),
    "random numbers by the CPU's generator": lambda: torch.rand(2, device="cuda", generator=torch.Generator()),
    "NumPy": lambda: _matrix().numpy(),
    "a product of integers": lambda: _matrix().long() @ _matrix().long(),
    "an enlargement of integers": lambda: torch.nn.functional.interpolate(_matrix().int()[None, None], scale_factor=2),
    "the CPU's integer products": lambda: torch.ops.onednn.qlinear_prepack(_matrix().to(torch.int8), None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cuda_refuses_is_refused(fault: str) -> None:
    with pytest.raises(WrongDeviceError):
        FAULTS[fault]()


def test_what_cuda_allows_is_allowed() -> None:
    there, number = _matrix(), torch.tensor(2.0)
    there[torch.tensor([True, False])] = number  # indices and numbers may be on the CPU
    there[0] += 1
    torch.zeros(2, 2).copy_(there * number)
    copied = there.cpu()
    copied.zero_()
    assert there.sum().item() == 8.0 and copied.device.type == "cpu" and (there + number).device.type == "cuda"


def test_training_moves_the_weights() -> None:
    layer = torch.nn.Linear(2, 1).to("cuda")
    before = layer.weight.detach().cpu()
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(_matrix()).sum().backward()
    optimiser.step()
    assert layer.weight.device.type == "cuda" and (layer.weight.detach().cpu() != before).all()
