"""Device and precision are chosen by what the computer has; what it lacks is refused in one line."""

import pytest
import torch

from FewShotSAMLib.core import errors
from FewShotSAMLib.core.errors import BadInputError, is_memory_shortage
from FewShotSAMLib.sam import memory, precision
from FewShotSAMLib.sam.family import family_of
from FewShotSAMLib.sam.precision import pick_device, pick_precision
from FewShotSAMLib.sam.registry import get_spec

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "name", "expected"),
    [
        ({"amx", "vnni"}, "vit_b", "bf16"),
        ({"bf16"}, "tiny", "bf16"),
        ({"vnni"}, "vit_b", "int8"),
        ({"vnni"}, "tiny", "fp32"),
        (set(), "vit_b", "fp32"),
    ],
)
def test_automatic_precision_on_processors(
    features: set[str], name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_has", features.__contains__)
    monkeypatch.setattr(precision, "integer_products_work", lambda: True)
    assert pick_precision("auto", CPU, get_spec(name)) == expected


def test_automatic_precision_elsewhere() -> None:
    assert pick_precision("auto", torch.device("cuda", 0), get_spec("vit_b")) == "fp16"
    assert pick_precision("auto", torch.device("mps"), get_spec("vit_b")) == "fp32"


@pytest.mark.parametrize(("name", "device"), [("fp8", "cpu"), ("int8", "cuda")])
def test_refused_precisions(name: str, device: str) -> None:
    with pytest.raises(BadInputError):
        pick_precision(name, torch.device(device), get_spec("vit_b"))


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_absent_devices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadInputError, match="--device cpu"):
        pick_device(name)
    assert pick_device("auto") == CPU


def test_devices_beyond_the_last_and_unknown_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0") == torch.device("cuda", 0)
    for name in ("cuda:1", "gpu", "meta", ""):
        with pytest.raises(BadInputError):
            pick_device(name)


def test_batches_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = get_spec("vit_b").architecture
    one = family_of(architecture).bytes_per_slice(architecture, 2)
    for free, expected in ((0, 1), (4 * one, 2), (1000 * one, memory.LARGEST_BATCH), (None, 1)):
        monkeypatch.setattr(memory, "free_memory", lambda _, free=free: free)
        assert memory.batch_size(architecture, 2, CPU) == expected


def test_what_running_out_of_memory_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    shortages = ["[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...", "CUDA out of memory."]
    assert all(is_memory_shortage(RuntimeError(text)) for text in shortages)
    assert is_memory_shortage(MemoryError()) and is_memory_shortage(RuntimeError("could not create a primitive"))
    assert not is_memory_shortage(RuntimeError("could not create a primitive descriptor for a matmul"))
    assert not is_memory_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_memory_shortage(ValueError("out of memory"))
    failed = SystemError("<function _find_and_load> returned NULL without setting an exception")
    for limited in (True, False):
        monkeypatch.setattr(errors, "is_memory_limited", lambda limited=limited: limited)
        assert is_memory_shortage(failed) is limited
    assert memory.free_memory(CPU) is None or memory.free_memory(CPU) > 0
