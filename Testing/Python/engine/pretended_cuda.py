"""A simulated CUDA device: tensors that claim to be on `cuda:0`, computed by the CPU, refused wherever CUDA refuses.

Whole jobs run this way without a GPU, with real values, and fail where a tensor was left on the CPU, a generator is of
the wrong device, an operation exists only on the CPU, or CUDA has no kernel for a dtype. Each call of torch's Python
functions is checked, in the thread that entered `pretended_cuda`; what autograd does by itself runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode, resolve_name

DEVICE = torch.device("cuda", 0)
FREE_BYTES = 8 << 30

_ACROSS = {"copy_", "to", "type_as", "set_", "__setstate__"}
"""Functions that take tensors of both devices."""
_INDEXED = {"__getitem__"}
"""The index may be on the CPU, as CUDA allows."""
_TO_HOST = {"cpu", "tolist", "item", "__bool__", "__int__", "__float__", "__index__", "__len__", "__repr__"}
_CPU_ONLY = {"numpy", "__array__", "histogram", "histogramdd", "to_mkldnn", "pin_memory", "share_memory_"}
_PRODUCTS = {
    *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "mv", "linear", "bilinear", "einsum"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "tensordot", "cdist"),
}
"""Without kernels for integers on CUDA."""
_FLOAT_ONLY = {"interpolate", "grid_sample", "softmax", "log_softmax", "avg_pool2d", "max_pool2d", "layer_norm", "gelu"}
_FACTORIES = {
    *("empty", "zeros", "ones", "full", "arange", "linspace", "eye", "rand", "randn", "randint", "randperm", "tensor"),
    *("as_tensor", "asarray", "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like"),
    *("new_empty", "new_zeros", "new_ones", "new_full", "new_tensor"),
}


class WrongDeviceError(RuntimeError):
    """What CUDA would refuse."""


def _function(
    owner: Any, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: dict[str, Any] | None = None
) -> Any:
    return _call(func, args, kwargs or {})


class OnCuda(torch.Tensor):
    """A tensor of the simulated device."""

    __torch_function__ = classmethod(_function)


class _Pretending(TorchFunctionMode):
    __torch_function__ = _function


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """Within this block, torch has one CUDA device with 8 GB."""
    real_autocast = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return real_autocast("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    facts = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "mem_get_info": lambda device=None: (FREE_BYTES, FREE_BYTES),
        "get_device_name": lambda device=None: "pretended",
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
    }
    with ExitStack() as stack:
        for name, fact in facts.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, fact))
        stack.enter_context(mock.patch.object(torch, "autocast", autocast))
        for check in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
            if hasattr(torch.optim.Optimizer, check):
                stack.enter_context(mock.patch.object(torch.optim.Optimizer, check, lambda optimiser: None))
        overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.enter_context(_Pretending())
        yield


def _call(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return _property(func, args)
    there = _place(name, args, kwargs)
    if there is None:
        with torch._C.DisableTorchFunction():
            return func(*args, **kwargs)
    if name == "_has_compatible_shallow_copy_type":
        return False  # so that a module that changes its device gets new parameters
    if name == "__deepcopy__":
        return _deep_copy(*args)
    _check(name, func, args, kwargs, there)
    crosses = name in ("to", "cpu", "cuda") and isinstance(args[0], OnCuda) != (there == "cuda")
    args, kwargs = _mapped(_without_device, args), {key: _mapped(_without_device, each) for key, each in kwargs.items()}
    with torch._C.DisableTorchFunction():
        result = func(*args, **kwargs)
        if crosses:  # never the same memory
            result = result.clone()
        return _mapped(_cast(there), result)


def _deep_copy(tensor: torch.Tensor, known: dict[int, Any]) -> torch.Tensor:
    if id(tensor) not in known:
        with torch._C.DisableTorchFunction():
            twin = tensor.detach().clone().as_subclass(OnCuda).requires_grad_(tensor.requires_grad)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        known[id(tensor)] = torch.nn.Parameter(twin, tensor.requires_grad) if is_parameter else twin
    return known[id(tensor)]


def _property(func: Callable[..., Any], args: Any) -> Any:
    owner = getattr(func, "__self__", None)
    if owner is torch.Tensor.device:
        return DEVICE if isinstance(args[0], OnCuda) else torch.device("cpu")
    if owner is torch.Tensor.is_cuda:
        return isinstance(args[0], OnCuda)
    if owner is torch.Tensor.is_cpu:
        return not isinstance(args[0], OnCuda)
    with torch._C.DisableTorchFunction():
        result = func(*args)
        return _mapped(_cast("cuda" if isinstance(args[0], OnCuda) else "cpu"), result)


def _place(name: str, args: Any, kwargs: dict[str, Any]) -> str | None:
    """Return where the result is; None if the simulated device is not involved."""
    tensors = list(_tensors((args, kwargs)))
    asked = [*_devices(kwargs.get("device")), *(_devices(args[1:]) if name in ("to", "new_tensor", "cuda") else [])]
    takes_part = any(isinstance(each, OnCuda) for each in tensors) or "cuda" in asked or name == "cuda"
    if not takes_part:
        return None
    if name in _TO_HOST:
        return "cpu"
    if name == "cuda":
        return "cuda"
    if asked:
        return asked[0]
    if name in ("to", "type_as") and len(tensors) > 1:
        return "cuda" if isinstance(tensors[1], OnCuda) else "cpu"
    if name in ("copy_", "__setitem__", "set_") or name in _INDEXED:
        return "cuda" if isinstance(tensors[0], OnCuda) else "cpu"
    return "cpu" if name == "tensor" else "cuda"


def _check(name: str, func: Any, args: Any, kwargs: dict[str, Any], there: str) -> None:
    tensors = list(_tensors((args, kwargs)))
    own = [each for each in tensors if isinstance(each, OnCuda)]
    said = resolve_name(func) or name
    is_foreign = type(func).__module__ == "torch._ops" and not str(func).startswith("aten.")
    if own and (name in _CPU_ONLY or is_foreign):
        raise WrongDeviceError(f"{said}: not for CUDA tensors")
    generator = kwargs.get("generator")
    if generator is not None and there == "cuda" and generator.device.type != "cuda":
        raise WrongDeviceError(f"{said}: a generator of the CPU for a CUDA tensor")
    if name in _ACROSS or name in _FACTORIES:
        return
    if name in _INDEXED:
        if there == "cpu":
            raise WrongDeviceError(f"{said}: CUDA indices into a CPU tensor")
        return
    strangers = [each for each in tensors if not isinstance(each, OnCuda)]
    if name == "__setitem__":
        strangers = strangers[-1:] if isinstance(args[2], torch.Tensor) and not isinstance(args[2], OnCuda) else []
        if there == "cpu" and own:
            raise WrongDeviceError(f"{said}: CUDA tensors into a CPU tensor")
    needs_same = name in _PRODUCTS or name in ("cat", "stack", "concat", "gather", "index_select", "scatter_add_")
    wrong = [each for each in strangers if each.ndim > 0 or needs_same]
    if wrong and own:
        shapes = ", ".join(str(tuple(each.shape)) for each in wrong)
        raise WrongDeviceError(f"{said}: CUDA tensors together with CPU tensors of shape {shapes}")
    is_picture = name == "interpolate" and own[:1] and own[0].dtype == torch.uint8
    floats = (name in _PRODUCTS or name in _FLOAT_ONLY) and not is_picture
    if floats and any(not each.is_floating_point() for each in own[:2]):
        raise WrongDeviceError(f"{said}: CUDA has no kernel for {[each.dtype for each in own]}")


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for each in values:
            yield from _tensors(each)


def _devices(value: Any) -> list[str]:
    """Return the types of the devices named in one or several arguments."""
    if isinstance(value, list | tuple):
        return [kind for each in value for kind in _devices(each)]
    if isinstance(value, torch.device):
        return [value.type]
    return [value.split(":")[0]] if isinstance(value, str) and value.split(":")[0] in ("cuda", "cpu") else []


def _without_device(value: Any) -> Any:
    return "cpu" if _devices(value) == ["cuda"] else value


def _cast(there: str) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, OnCuda) == (there == "cuda"):
            return value
        return value.as_subclass(OnCuda if there == "cuda" else torch.Tensor)

    return cast


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return type(value)((key, _mapped(change, each)) for key, each in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(change, each) for each in value))
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(_mapped(change, each) for each in value)
    return change(value)
