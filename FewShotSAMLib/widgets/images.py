"""Arrays as pictures of Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt


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
