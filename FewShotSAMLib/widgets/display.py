"""Rich text of the panel, and arrays as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt

_COLORS = {"warning": ("#8a5300", "#f0a030"), "error": ("#c0281a", "#ff8a75")}
"""Of text on a light and on a dark background: no single colour can be read well on both."""


def colored(text: str, level: str, widget: Any) -> str:
    """Rich text in the colour that a message's level has on this widget; `text` is plain."""
    if level not in _COLORS:
        return escaped(text)
    ink, paper = (widget.palette.color(role).red() for role in (qt.QPalette.WindowText, qt.QPalette.Window))
    return f'<span style="color:{_COLORS[level][ink > paper]}">{escaped(text)}</span>'


def shortened(text: str, most: int) -> str:
    """At most `most` characters of a plain text, its middle left out where it is longer."""
    if len(text) <= most:
        return text
    head = most - 1 - most // 3
    return f"{text[:head].rstrip()}\N{HORIZONTAL ELLIPSIS}{text[-(most // 3) :].lstrip()}"


def escaped(text: str) -> str:
    """Plain text within rich text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")


def toPixmap(image: np.ndarray) -> Any:
    """A QPixmap of an image (h, w, 3) uint8.

    By way of a PPM file in memory, which Qt reads in every version: QImage's own constructor wants a pointer, which
    PythonQt cannot make of an array.
    """
    height, width = image.shape[:2]
    ppm = b"P6 %d %d 255\n" % (width, height) + np.ascontiguousarray(image, dtype=np.uint8).tobytes()
    picture = qt.QImage()
    if not picture.loadFromData(qt.QByteArray(ppm)):
        raise ValueError(f"Qt read no image of shape {image.shape}")
    return qt.QPixmap.fromImage(picture)
