"""Loads SAM checkpoints: official ones after a hash check, fine-tuned ones if they fit; code in a file is never run."""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from FewShotSAMLib.core.errors import BadInputError, MemoryShortageError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.modeling import Sam
from FewShotSAMLib.sam.registry import PIXEL_MEAN, PIXEL_STD, EncoderSpec, all_specs, build_sam

Warn = Callable[[str], None]
StateDict = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

_WRAPPERS = ("model", "state_dict")
"""Keys under which training scripts (such as MedSAM's) store the network alongside the optimiser."""
_UNREADABLE = (RuntimeError, ValueError, LookupError, AttributeError, TypeError, EOFError, OSError, ImportError)
"""What torch.load raises for files that are not checkpoints, besides UnpicklingError."""


def load_sam(
    spec: EncoderSpec, checkpoint: Path | None = None, verify: bool = True, warn: Warn | None = None
) -> tuple[Sam, str]:
    """SAM of `spec` with its weights, in eval mode, float32, on the CPU; and the SHA-256 that identifies the weights.

    Without `checkpoint`, the bundled file, or else the one in the model folder, is read; with `verify` it must be the
    published one. A `checkpoint` named by the user may be any file whose tensors fit exactly; `warn` is called if it is
    not the published one. Raises BadInputError if the file is missing, damaged or of another network.
    """
    warn = warn or logging.getLogger(__name__).warning
    path = Path(checkpoint) if checkpoint is not None else model_files.model_path(spec)
    _check_is_file(spec, path, named_by_user=checkpoint is not None)
    digest = model_files.remembered_sha256(path)
    if verify and checkpoint is None:
        model_files.check_published(spec, path, digest)
    state = read_state_dict(path)
    sam = _outline(spec)
    _check_fits(spec, path, state, _shapes(sam))
    if digest != spec.sha256:
        _check_sums(path)
        _check_finite(path, state)
        if verify and spec.is_downloaded:
            warn(
                f"{path} is not the published file of “{spec.name}”; its tensors fit, so it is used as fine-tuned "
                "weights. Check that this is what you want."
            )
    return _assembled(sam, state), digest


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a .pth or .safetensors file, by name, on the CPU. No code in the file is executed. Raises
    BadInputError if the file is unreadable or contains no tensors."""
    advice = hint("another-checkpoint")
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise _no_memory(path) from error
    except (pickle.UnpicklingError, safetensors.SafetensorError, *_UNREADABLE) as error:
        if "allocate memory" in str(error):  # torch reports it as a RuntimeError
            raise _no_memory(path) from error
        raise BadInputError(f"{path} is not a readable checkpoint: {_diagnose(path)}.", advice) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise BadInputError(f"{path} contains no network, only other data.", advice)
    return {str(name): tensor for name, tensor in content.items()}


def _no_memory(path: Path) -> MemoryShortageError:
    return MemoryShortageError(f"The checkpoint {path} does not fit into memory.", "Choose a smaller encoder.")


def _check_is_file(spec: EncoderSpec, path: Path, named_by_user: bool) -> None:
    if path.is_file():
        return
    if not named_by_user:
        raise model_files.missing_model(spec, path)
    problem = "is a folder" if path.is_dir() else "does not exist"
    raise BadInputError(
        f"The checkpoint {path} {problem}.",
        hint("correct-checkpoint", encoder=spec.name) if spec.is_downloaded else hint("no-checkpoint"),
    )


def _is_whole_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def _diagnose(path: Path) -> str:
    """Why a file cannot be a checkpoint, judged from its first bytes and whether its archive is complete."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        return "it is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, as a browser saves it when a download needs a login or the address is wrong"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    if path.suffix.lower() == ".safetensors":
        return "it is truncated, or not a safetensors file"
    if start.startswith(b"PK") and not _is_whole_zip(path):
        return "it is truncated (the end of the archive is missing)"
    if start.startswith((b"PK", b"\x80")):
        return "it is damaged, or holds objects other than tensors, which are not loaded because they could run code"
    return "it is a file of another kind"


def _check_fits(spec: EncoderSpec, path: Path, state: StateDict, expected: Shapes) -> None:
    """Raise BadInputError unless names and shapes are exactly those of the network that `spec` describes."""
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found == expected:
        return
    for other in all_specs():
        if other.architecture != spec.architecture and found == _shapes(_outline(other)):
            raise BadInputError(
                f"{path} holds the network of “{other.name}”, not of “{spec.name}”.",
                hint("encoder-of-checkpoint", encoder=other.name),
            )
    raise BadInputError(
        f"{path} is a checkpoint of a network other than “{spec.name}”: {_difference(expected, found)}.",
        hint("checkpoint-of-encoder"),
    )


def _shapes(sam: Sam) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}


def _outline(spec: EncoderSpec) -> Sam:
    """The network without memory for its image encoder's weights; no random numbers are drawn."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build_sam(spec)


def _difference(expected: Shapes, found: Shapes) -> str:
    """The most informative difference between two sets of named shapes."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        return f"{len(missing)} tensors are missing, such as {missing[0]}"
    if extra:
        return f"{len(extra)} tensors are unknown, such as {extra[0]}"
    name = next(name for name in sorted(expected) if expected[name] != found[name])
    return f"{name} has shape {found[name]} instead of {expected[name]}"


def _check_sums(path: Path) -> None:
    """Raise BadInputError if a checksum in the archive is wrong, which torch does not verify."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        struct.error,
    ) as error:
        raise BadInputError(f"{path} is damaged ({error}).", "Copy or download it again.") from error
    if damaged is not None:
        raise BadInputError(
            f"{path} is damaged: the checksum of {damaged} in it is wrong.", "Copy or download it again."
        )


def _check_finite(path: Path, state: StateDict) -> None:
    """Raise BadInputError for NaN or infinities, as in damaged files or after diverged training; a sum propagates
    them."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.sum(dtype=torch.float64).isfinite()):
            raise BadInputError(
                f"{path} holds numbers that are not finite (in {name}).",
                "The file is damaged or its training went wrong; use another one.",
            )


def _assembled(sam: Sam, state: StateDict) -> Sam:
    """The network with the loaded tensors as its parameters, without a second copy."""
    sam.load_state_dict({name: tensor.to(torch.float32).contiguous() for name, tensor in state.items()}, assign=True)
    # The two constants that are not part of Sam's state dict.
    sam.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(-1, 1, 1), persistent=False)
    sam.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(-1, 1, 1), persistent=False)
    return sam.eval()
