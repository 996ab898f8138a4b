"""Chooses the encoder's device and number format from what the computer supports."""

from __future__ import annotations

import torch

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.sam.fast.linear import integer_products_work
from FewShotSAMLib.sam.registry import EncoderSpec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}
"""Type of the float tensors used in products (int8 layers take and return float32)."""
PRECISIONS = tuple(DTYPES)
"""Values of `--precision` besides auto."""

_INT8_WIDTH = 384
"""Number of channels from which int8 saves more time than quantising costs (measured: docs/performance.md)."""
_CPU_FLAGS = {
    "amx": ("_is_amx_tile_supported",),
    "bf16": ("_is_avx512_bf16_supported",),
    "vnni": ("_is_vnni_supported", "_is_avx512_vnni_supported", "_is_cpu_support_avx512_vnni"),
}
"""torch's functions, by version, that report what the processor supports."""


def pick_device(name: str = "auto") -> torch.device:
    """The device called auto, cpu, mps, cuda or cuda:N; auto is the first available of cuda, mps, cpu. Raises
    BadInputError for an unknown name and for a device that this computer or its torch does not support."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _no_such_device(name) from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        return _cuda_device(name, device)
    if device.type != "mps":
        raise _no_such_device(name)
    if not torch.backends.mps.is_available():
        raise BadInputError("There is no Apple GPU (mps) on this computer.", hint("another-device"))
    return device


def pick_precision(name: str, device: torch.device, spec: EncoderSpec) -> str:
    """The precision called auto, fp32, bf16, fp16 or int8, resolved for this device and encoder.

    auto: fp16 on CUDA; on the CPU bf16 if it multiplies bf16 natively, int8 if it has VNNI and the encoder is large
    enough to benefit; float32 otherwise. Raises BadInputError for an unknown name, and for int8 off the CPU or
    with an encoder or a torch that cannot do it.
    """
    if name == "auto":
        return _automatic(device, spec)
    if name not in DTYPES:
        raise BadInputError(f"There is no precision “{name}”.", f"Choose one of: auto, {', '.join(PRECISIONS)}.")
    if name == "int8" and not spec.architecture.has_int8:
        raise BadInputError(f"The encoder “{spec.name}” has no int8 form.", hint("automatic-precision"))
    if name == "int8" and not (device.type == "cpu" and integer_products_work()):
        raise BadInputError(
            "Precision int8 works on the CPU only, with a torch that supports it.", hint("automatic-precision")
        )
    return name


def processor_has(feature: str) -> bool:
    """Whether the processor has "amx", "bf16" (AVX512_BF16) or "vnni" (AVX512_VNNI); False if torch cannot tell."""
    for flag in _CPU_FLAGS[feature]:
        ask = getattr(torch.cpu, flag, None)
        if ask is not None:
            return bool(ask())
    return False


def _automatic(device: torch.device, spec: EncoderSpec) -> str:
    if device.type == "cuda":
        return "fp16"
    if device.type != "cpu":
        return "fp32"
    if processor_has("amx") or processor_has("bf16"):
        return "bf16"
    wide = spec.architecture.embed_dim >= _INT8_WIDTH
    return "int8" if wide and processor_has("vnni") and integer_products_work() else "fp32"


def _cuda_device(name: str, device: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        raise BadInputError("There is no CUDA GPU that torch can use.", hint("another-device"))
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        raise BadInputError(f"There is no {name}: this computer has {count} CUDA GPU(s).", "Count from cuda:0.")
    return torch.device("cuda", index)


def _no_such_device(name: str) -> BadInputError:
    return BadInputError(f"There is no device “{name}”.", "Choose one of: auto, cpu, cuda, cuda:1, mps.")
