"""Checks the content of a few-shot model's file before it is used."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NoReturn

import torch

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.plane import PLANE_NAMES
from FewShotSAMLib.methods.interface import ExemplarFeatures
from FewShotSAMLib.methods.registry import get_method
from FewShotSAMLib.sam.registry import EMBEDDING_CHANNELS

LENGTH_BYTES = 8
"""Size of the header's length, little-endian, at the beginning of a safetensors file."""
METADATA_KEY, DIGEST_KEY = "fewshotsam", "digest"
MOST_BYTES = 2 << 30
MOST_HEADER_BYTES = 16 << 20
MOST_SEGMENTS = 254


def header_of(content: bytes) -> dict[str, Any]:
    """FewShotSAM's part of the header, after verifying the digest stored in the file. Raises ValueError, KeyError or
    TypeError."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if not 0 < length <= min(MOST_HEADER_BYTES, len(content) - LENGTH_BYTES):
        raise ValueError("its header is cut off")
    header = parse_json(parse_json(content[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"][METADATA_KEY])
    if not isinstance(header, dict) or not isinstance(header["version"], int):
        raise ValueError("it holds no description")
    digest = header.pop(DIGEST_KEY, None)
    if digest != digest_of(content, header) and not (digest is None and not header.get("has_digest")):
        raise ValueError("it is damaged: its digest is wrong")
    return header


def digest_of(content: bytes, header: Mapping[str, Any]) -> str:
    """SHA-256 of a safetensors file's tensors, their offsets and FewShotSAM's description without the digest itself."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    outer = parse_json(content[LENGTH_BYTES:start])
    del outer["__metadata__"]
    digest = hashlib.sha256(json.dumps([header, outer], sort_keys=True).encode())
    digest.update(memoryview(content)[start:])
    return digest.hexdigest()


def parse_json(text: str | bytes) -> Any:
    """Parse JSON, refusing NaN and infinities. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_header(header: Mapping[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError if a description's fields are missing or have the wrong type."""
    try:
        get_method(header["method"])
    except BadInputError as error:
        raise ValueError(f"the method {header['method']!r} is not known") from error
    if header["plane"] not in PLANE_NAMES:
        raise ValueError(f"the plane {header['plane']!r} is not known")
    for name in ("encoder", "weights_hash"):
        if not isinstance(header[name], str):
            raise TypeError(f"{name} is not a text")
    segments = header["segments"]
    if not isinstance(segments, list) or not 0 < len(segments) <= MOST_SEGMENTS:
        raise ValueError("it holds no segments")
    ids = [segment["id"] for segment in segments]
    if len(set(ids)) < len(ids):
        raise ValueError("two segments have the same ID")
    for token in header["tokens"]:
        label, *others = (whole(token[name]) for name in ("label", "slice", "copy"))
        if not 0 <= label <= len(segments) or min(others) < 0:
            raise ValueError("a token belongs to no segment")


def region_of(values: Any) -> tuple[int, int, int, int] | None:
    """The part of the slices that was learned from; None for None."""
    if values is None:
        return None
    first, second, third, fourth = (whole(value) for value in values)
    return first, second, third, fourth


def settings_of(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A method's settings, each value of the same type as its default. Raises KeyError, TypeError or ValueError."""
    known = {field.name: getattr(kind(), field.name) for field in fields(kind)}
    for name, value in values.items():
        wanted = type(known[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise TypeError(f"the setting {name} is {value!r}")
        if isinstance(value, float | int) and not 0 <= value < 1 << 20:
            raise ValueError(f"the setting {name} is {value!r}")
    return kind(**values)


def check_finite(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError if a tensor holds NaN or infinities."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite")


def check_shapes(shown: ExemplarFeatures | None, vectors: torch.Tensor, count: int) -> None:
    """Raise ValueError if exemplars and tokens do not fit each other or the number of segments."""
    if vectors.numel() and (vectors.ndim != 2 or vectors.shape[1] != EMBEDDING_CHANNELS):
        raise ValueError("its tokens have another size")
    if shown is None:
        return
    features, masks, known = shown.features, shown.masks, shown.known
    if features.ndim != 4 or masks.ndim != 4 or len(features) != len(masks) or masks.shape[1] != count:
        raise ValueError("its exemplars do not fit its segments")
    if known is not None and (known.dtype != torch.bool or known.shape != masks.shape[:2]):
        raise ValueError("the known segments of its exemplars do not fit them")


def whole(value: Any) -> int:
    """The value if it is a whole number. Raises TypeError for any other value, ValueError beyond 32 bits."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    if abs(value) >= 1 << 31:
        raise ValueError(f"{value} is out of range")
    return value


def finite(value: Any) -> float:
    """The value if it is a finite number. Raises TypeError or ValueError for any other value."""
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
