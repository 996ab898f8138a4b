"""Loads SAM checkpoints: official ones hash-checked, fine-tuned ones if they fit; code in a file is never run."""

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
"""Keys under which training scripts (MedSAM's among them) store the network beside the optimiser."""
_UNREADABLE = (RuntimeError, ValueError, LookupError, AttributeError, TypeError, EOFError, OSError, ImportError)
"""What torch.load raises for files that are no checkpoint, besides UnpicklingError."""


def load_sam(
    spec: EncoderSpec, checkpoint: Path | None = None, verify: bool = True, warn: Warn | None = None
) -> tuple[Sam, str]:
    """SAM of `spec` with its weights, eval mode, float32, on the CPU; and the SHA-256 that names the weights.

    Without `checkpoint` the file that comes along, or else the one in the model folder, is read, and with `verify` it
    must be the published one. A `checkpoint` named by the user may be any file whose tensors fit exactly; `warn` is
    told when it is not the published one. Raises BadInputError where the file is missing, damaged or of another
    network.
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
    BadInputError where the file holds no such thing."""
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
        raise BadInputError(f"{path} is no readable checkpoint: {_diagnose(path)}.", advice) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise BadInputError(f"{path} holds no network, only other data.", advice)
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
    """Why a file cannot be a checkpoint, from how it begins and whether its archive is whole."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        return "it is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, as a browser saves it when a download needs a login or the address is wrong"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    if path.suffix.lower() == ".safetensors":
        return "it is truncated or no safetensors file"
    if start.startswith(b"PK") and not _is_whole_zip(path):
        return "it is truncated (the end of the archive is missing)"
    if start.startswith((b"PK", b"\x80")):
        return "it is damaged, or holds objects other than tensors, which are not loaded because they could run code"
    return "its contents are of another kind"


def _check_fits(spec: EncoderSpec, path: Path, state: StateDict, expected: Shapes) -> None:
    """Raise BadInputError unless names and shapes are exactly those expected of the network that `spec` describes."""
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
        f"{path} is a checkpoint of another network than “{spec.name}”: {_difference(expected, found)}.",
        hint("checkpoint-of-encoder"),
    )


def _shapes(sam: Sam) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}


def _outline(spec: EncoderSpec) -> Sam:
    """The network, with no memory for its image encoder's weights; no random numbers are drawn."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build_sam(spec)


def _difference(expected: Shapes, found: Shapes) -> str:
    """The first and most telling difference between two sets of named shapes."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        return f"{len(missing)} tensors are missing, such as {missing[0]}"
    if extra:
        return f"{len(extra)} tensors are unknown, such as {extra[0]}"
    name = next(name for name in sorted(expected) if expected[name] != found[name])
    return f"{name} has shape {found[name]} instead of {expected[name]}"


def _check_sums(path: Path) -> None:
    """Raise BadInputError where a part of the archive that torch writes is not as it was: torch does not look."""
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
    """A damaged or diverged fine-tuned file shows in numbers that are none; a sum carries them along."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.sum(dtype=torch.float64).isfinite()):
            raise BadInputError(
                f"{path} holds numbers that are not finite (in {name}).",
                "The file is damaged or its training went wrong; use another one.",
            )


def _assembled(sam: Sam, state: StateDict) -> Sam:
    """The network around the loaded tensors, which become its parameters: no second copy."""
    sam.load_state_dict({name: tensor.to(torch.float32).contiguous() for name, tensor in state.items()}, assign=True)
    # The two constants that Sam keeps out of its state dict.
    sam.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(-1, 1, 1), persistent=False)
    sam.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(-1, 1, 1), persistent=False)
    return sam.eval()
