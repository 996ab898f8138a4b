"""Pictures for the page, made without any imaging library: thumbnails as PNG, the confidence strip as SVG."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from FewShotSAMLib.core.confidence_colors import confidence_colors
from FewShotSAMLib.workflow import Review, SliceReview

STRIP_HEIGHT = 26
_INK, _UNSEEN = "#e3e7ee", "#20242c"
_MARK_HEIGHT = 5


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of an RGB picture, (rows, columns, 3) uint8."""
    rows, columns, _ = pixels.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)  # 0: no filter
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def png_uri(pixels: np.ndarray) -> str:
    """The same PNG as an address for an image element."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def confidence_strip(review: Review, slices: int) -> str:
    """A bar for each of `slices` slices, coloured by confidence. Below, a full mark stands for a painted slice, a half
    mark for an empty one, and an orange mark for one that should be painted next."""
    known = {each.index: each for each in review.slices}
    bars = "".join(_bars(known.get(index), index) for index in range(slices))
    marks = [index for index in review.next_slices if index in known and known[index].origin == "predicted"]
    bars += "".join(_rect(index, STRIP_HEIGHT - _MARK_HEIGHT, _MARK_HEIGHT, confidence_color(0.0)) for index in marks)
    return (
        f'<svg viewBox="0 0 {slices} {STRIP_HEIGHT}" preserveAspectRatio="none" width="100%" height="{STRIP_HEIGHT}" '
        f'shape-rendering="crispEdges" role="img" aria-label="confidence of each slice">{bars}</svg>'
    )


def _bars(each: SliceReview | None, index: int) -> str:
    tall = STRIP_HEIGHT - _MARK_HEIGHT - 1
    if each is None:
        return _rect(index, 0, tall, _UNSEEN)
    if each.origin == "predicted":
        return _rect(index, 0, tall, confidence_color(each.confidence))
    mark = _MARK_HEIGHT if each.origin == "painted" else _MARK_HEIGHT // 2
    return _rect(index, 0, tall, confidence_color(1.0)) + _rect(index, STRIP_HEIGHT - mark, mark, _INK)


def _rect(x: int, y: int, height: int, color: str) -> str:
    return f'<rect x="{x}" y="{y}" width="1" height="{height}" fill="{color}"/>'


def confidence_color(confidence: float) -> str:
    """The colour of a confidence, 0 to 1, as #rrggbb."""
    return f"#{bytes(confidence_colors(np.array([confidence]))[0]).hex()}"


def color_of_hex(text: str) -> tuple[float, float, float]:
    """The three numbers of #rrggbb; raises ValueError for any other text."""
    if len(text) != 7 or text[0] != "#":
        raise ValueError(f"{text!r} is not a colour")
    red, green, blue = (int(text[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue
