"""A CT-like phantom of the upper abdomen with its true segmentation, for demo, tests and benchmarks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import Segment, Segmentation
from FewShotSAMLib.core.volume import Volume

FIELD_MM = (240.0, 310.0, 384.0)  # along z (feet to head), y (front to back), x (right to left)
AIR, NOISE_HU = -1000.0, 14.0
_THROUGH = 1e6  # half axis of what runs through the whole volume, mm


@dataclass(frozen=True)
class _Body:
    """An ellipsoid with a wavy surface. mm from the centre of the volume, LPS: +x left, +y back, +z head.

    lean: shift (x, y) in mm per half axis along z. wave: height of the waves as a part of the radius.
    color: of its segment; None for what is seen in the image only.
    """

    name: str
    hounsfield: float
    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    lean: tuple[float, float] = (0.0, 0.0)
    wave: float = 0.06
    color: tuple[float, float, float] | None = None


# Later ones lie over earlier ones. Contrast-enhanced values, portal venous phase; colours by anatomical convention.
_BODIES = (
    _Body("skin", -105, (0, 0, 0), (172, 128, _THROUGH), wave=0.008),
    _Body("muscle", 55, (0, 2, 0), (154, 110, _THROUGH), wave=0.012),
    _Body("abdominal fat", -95, (0, -8, 0), (138, 90, _THROUGH), wave=0.015),
    _Body("right lung", -860, (-72, 6, 128), (66, 82, 62), wave=0.03),
    _Body("left lung", -860, (72, 6, 128), (64, 80, 58), wave=0.03),
    _Body("back muscle left", 60, (38, 82, 0), (26, 22, _THROUGH)),
    _Body("back muscle right", 60, (-38, 82, 0), (26, 22, _THROUGH)),
    _Body("bowel front", 35, (20, -58, -70), (62, 24, 46), (-18, 6), 0.16),
    _Body("bowel right", 40, (-82, -22, -82), (26, 28, 36), (8, -6), 0.14),
    _Body("bowel left", 38, (92, -14, -72), (24, 30, 48), (-6, 8), 0.14),
    _Body("bowel gas", -880, (22, -64, -66), (16, 8, 14), (0, 0), 0.2),
    _Body("stomach", 45, (56, -36, 36), (44, 34, 52), (22, 16), 0.09, (0.85, 0.52, 0.41)),
    _Body("stomach gas", -900, (60, -52, 40), (22, 10, 22), (10, 4), 0.05),
    _Body("liver", 108, (-66, -8, 28), (70, 66, 76), (-14, 10), 0.07, (0.87, 0.51, 0.40)),
    _Body("liver", 108, (6, -44, 44), (50, 30, 36), (-10, 8), 0.09, (0.87, 0.51, 0.40)),
    _Body("gallbladder", 8, (-46, -40, -30), (14, 16, 24), (-6, -8), 0.06, (0.55, 0.59, 0.38)),
    _Body("spleen", 122, (100, 34, 36), (27, 40, 46), (-10, 10), 0.1, (0.62, 0.42, 0.64)),
    _Body("right kidney", 165, (-62, 44, -40), (27, 24, 52), (10, 6), 0.07, (0.18, 0.60, 0.52)),
    _Body("left kidney", 168, (64, 42, -22), (26, 25, 54), (-10, 6), 0.07, (0.30, 0.74, 0.62)),
    _Body("right renal sinus", -40, (-50, 42, -40), (11, 9, 22), (4, 2), 0.12),
    _Body("left renal sinus", -40, (52, 40, -22), (11, 9, 23), (-4, 2), 0.12),
    _Body("spine", 190, (0, 58, 0), (23, 19, _THROUGH), wave=0.05, color=(0.95, 0.84, 0.57)),
    _Body("spinal canal", 30, (0, 80, 0), (9, 8, _THROUGH), wave=0.02),
    _Body("aorta", 160, (12, 28, 0), (11, 11, _THROUGH), wave=0.03, color=(0.88, 0.38, 0.30)),
    _Body("inferior vena cava", 128, (-20, 30, 0), (13, 10, _THROUGH), wave=0.05, color=(0.0, 0.59, 0.81)),
)


def ct_phantom(shape: tuple[int, int, int] = (80, 155, 192), seed: int = 0) -> tuple[Volume, Segmentation]:
    """A phantom of `shape` (k, j, i) in Hounsfield units, int16, and its organs, one label value each.

    The field is the same for any shape: 240 mm along k, 310 along j, 384 along i. Outlines change from slice to slice
    and with the seed; liver, spleen, kidneys, stomach and gallbladder end inside the volume. Borders are blurred by
    partial volume, noise is slightly correlated as in CT. The same seed gives the same phantom.
    """
    random = np.random.default_rng(seed)
    phases = random.uniform(0, 2 * np.pi, (len(_BODIES), 3))
    spacing = [length / count for length, count in zip(FIELD_MM, shape, strict=True)]
    values = {name: number for number, name in enumerate(_segment_colors(), start=1)}
    voxels, labels = np.empty(shape, np.int16), np.zeros(shape, np.uint8)
    z_axis, y_axis, x_axis = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True))
    for k, z in enumerate(z_axis):
        image = np.full(shape[1:], AIR, np.float32)
        for body, phase in zip(_BODIES, phases, strict=True):
            for window, cover in _cover(body, phase, float(z), y_axis, x_axis):
                image[window] += (body.hounsfield - image[window]) * cover
                labels[k][window][cover > 0.5] = values.get(body.name, 0)
        voxels[k] = np.clip(np.rint(image + _noise(random, shape[1:])), -1024, 3071)
    geometry = Geometry(
        (shape[2], shape[1], shape[0]),
        (spacing[2], spacing[1], spacing[0]),
        (float(x_axis[0]), float(y_axis[0]), float(z_axis[0])),
    )
    segments = tuple(
        Segment(name.replace(" ", "_"), name, color, values[name]) for name, color in _segment_colors().items()
    )
    return Volume(voxels, geometry, "ct-phantom"), Segmentation(labels[np.newaxis], geometry, segments)


def _segment_colors() -> dict[str, tuple[float, float, float]]:
    return {body.name: body.color for body in _BODIES if body.color is not None}


def _cover(
    body: _Body, phase: np.ndarray, z: float, y_axis: np.ndarray, x_axis: np.ndarray
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Where a body meets the slice at height z: the window (rows, columns) and how far it fills each pixel, 0 to 1."""
    t = (z - body.center[2]) / body.radii[2]
    reach = 1 + 2 * body.wave
    if abs(t) > reach:
        return
    lean_x, lean_y = (shift * t for shift in body.lean)
    rows = _within(y_axis, body.center[1] + lean_y, body.radii[1] * reach)
    columns = _within(x_axis, body.center[0] + lean_x, body.radii[0] * reach)
    v = ((y_axis[rows] - body.center[1] - lean_y) / body.radii[1])[:, np.newaxis]
    u = ((x_axis[columns] - body.center[0] - lean_x) / body.radii[0])[np.newaxis]
    angle = np.arctan2(v, u)
    turn = z / 40.0  # the waves wind about the body, a turn in 25 cm, so that no two slices look alike
    waves = np.sin(2 * angle + phase[0] + turn) + 0.6 * np.sin(3 * angle + phase[1] - 1.7 * turn)
    waves += 0.4 * np.sin(5 * angle + phase[2] + 2.3 * turn)
    distance = np.sqrt(u**2 + v**2 + t**2)
    waves *= np.hypot(u, v) / np.maximum(distance, 1e-6)  # none at the poles, which would fall to pieces
    depth = (1 + body.wave * waves - distance) * min(body.radii[:2])
    yield (rows, columns), np.clip(depth / abs(x_axis[1] - x_axis[0]) + 0.5, 0, 1).astype(np.float32)


def _within(axis: np.ndarray, center: float, reach: float) -> slice:
    first, end = np.searchsorted(axis, (center - reach, center + reach))
    return slice(int(first), int(end))


def _noise(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Gaussian noise of standard deviation NOISE_HU, neighbours correlated as after a CT reconstruction."""
    white = random.standard_normal(shape, dtype=np.float32)
    blurred = 2 * white
    for axis in (0, 1):
        blurred += np.roll(white, 1, axis) + np.roll(white, -1, axis)
    return blurred * np.float32(NOISE_HU / np.sqrt(8))
