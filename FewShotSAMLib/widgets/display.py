"""Rich text for the panel, and arrays as pixmaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt

_COLORS = {"warning": ("#8a5300", "#f0a030"), "error": ("#c0281a", "#ff8a75")}
"""Text colours on a light and on a dark background: no single colour is legible on both."""


def colored(text: str, level: str, widget: Any) -> str:
    """Plain text as rich text, in the colour of a message's level on this widget."""
    if level not in _COLORS:
        return escaped(text)
    ink, paper = (widget.palette.color(role).red() for role in (qt.QPalette.WindowText, qt.QPalette.Window))
    return f'<span style="color:{_COLORS[level][ink > paper]}">{escaped(text)}</span>'


def shortened(text: str, most: int) -> str:
    """At most `most` characters of a plain text; the middle of a longer one is left out."""
    if len(text) <= most:
        return text
    head = most - 1 - most // 3
    return f"{text[:head].rstrip()}\N{HORIZONTAL ELLIPSIS}{text[-(most // 3) :].lstrip()}"


def escaped(text: str) -> str:
    """Plain text, escaped for rich text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")


def toPixmap(image: np.ndarray) -> Any:
    """A QPixmap of an image (h, w, 3) uint8.

    The image is passed as a PPM file in memory, which every version of Qt reads: QImage's constructor needs a pointer,
    which PythonQt cannot make from an array.
    """
    height, width = image.shape[:2]
    ppm = b"P6 %d %d 255\n" % (width, height) + np.ascontiguousarray(image, dtype=np.uint8).tobytes()
    picture = qt.QImage()
    if not picture.loadFromData(qt.QByteArray(ppm)):
        raise ValueError(f"Qt read no image of shape {image.shape}")
    return qt.QPixmap.fromImage(picture)
