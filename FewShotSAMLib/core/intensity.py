"""The one intensity normalisation, used for both training and prediction and stored with the model."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import Volume

# Level and width in Hounsfield units as radiologists set them (Murphy A. et al., Windowing (CT), Radiopaedia.org,
# doi 10.53347/rID-52108).
PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (50, 400),
    "soft-tissue": (50, 400),
    "liver": (30, 150),
    "mediastinum": (50, 350),
    "lung": (-600, 1500),
    "brain": (40, 80),
    "bone": (400, 1800),
    "spine": (50, 250),
    "temporal-bone": (600, 2800),
}
ROBUST_PERCENTILES = (0.5, 99.5)
STRETCH_PERCENTILES = (1.0, 99.0)
LEAST_CONTRAST = 0.1
"""Share of a window below which nothing is stretched, so that noise stays noise."""
_SAMPLES = 1_000_000
_LARGEST_PLAIN, _LEAST_PLAIN = 1e30, 1e-30
_FLOAT32_STEP = 1e-4
"""Windows beyond these, or this narrow for their distance from 0, need float64."""
_AIR, _SOFT_TISSUE = -700, (-150, 250)
_LEAST_AIR, _LEAST_SOFT = 0.001, 0.05
_LEAST_RANGE = 20
"""Hounsfield units between the darkest and the brightest voxel; CT with less was rescaled, such as to 0 to 1."""


@dataclass(frozen=True)
class IntensityWindow:
    """The intensities that become 0 and 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Raise BadInputError if the range is empty or not finite."""
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.high / 4 - self.low / 4 > 0):
            raise BadInputError(
                f"The volume's intensities from {self.low:g} to {self.high:g} cannot be told apart.",
                "Rescale them, or set missing values to NaN; they are then read as the smallest value.",
            )

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """A slice (rows, columns) or (rows, columns, 3) as float32, 0 to 1; what lies outside the window is clipped.

        Meant for slices: applied to a volume it would make a float copy of it.
        """
        if not self._fits_float32():
            low, high = self.low / 4, self.high / 4  # so that no difference overflows float64
            return np.clip((pixels.astype(np.float64) / 4 - low) / (high - low), 0, 1).astype(np.float32)
        with np.errstate(over="ignore"):  # padding such as -3.4e38 is far outside and stays there
            scaled = pixels.astype(np.float32)
            scaled -= np.float32(self.low)
            scaled /= np.float32(self.high - self.low)
        return np.clip(scaled, 0, 1, out=scaled)

    def _fits_float32(self) -> bool:
        largest = max(abs(self.low), abs(self.high))
        return largest < _LARGEST_PLAIN and self.high - self.low > max(_LEAST_PLAIN, _FLOAT32_STEP * largest)

    def stretched(self, values: np.ndarray) -> Self:
        """The part of the window that most of these `values` (0..1, any shape) fill, at least LEAST_CONTRAST of it."""
        low, high = np.percentile(values, STRETCH_PERCENTILES).tolist() if values.size else (0.0, 1.0)
        missing = max(0.0, LEAST_CONTRAST - (high - low))
        low = min(max(0.0, low - missing / 2), 1 - LEAST_CONTRAST)
        high = max(min(1.0, high + missing / 2), low + LEAST_CONTRAST)
        width = self.high - self.low
        return type(self)(self.low + low * width, self.low + high * width)


@dataclass(frozen=True)
class Normalisation:
    """How intensities are normalised, for any volume.

    kind: "window" with low and high in intensity units, "percentile" with low and high in percent of the foreground,
    or "rgb", where colours of 0 to 255 are scaled and low and high are not used. why: the reason for it, in words.
    """

    kind: str
    low: float = 0.0
    high: float = 255.0
    why: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Raise BadInputError for an unknown kind or an invalid range."""
        if self.kind not in ("window", "percentile", "rgb"):
            raise BadInputError(f"Unknown normalisation {self.kind!r}.", "Use window, percentile or rgb.")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise BadInputError(f"The normalisation range {self.low:g},{self.high:g} is empty.", "Give LOW below HIGH.")
        if self.kind == "percentile" and not 0 <= self.low < self.high <= 100:
            raise BadInputError(
                f"Percentiles {self.low:g},{self.high:g} are out of range.", "Give 0 <= LOW < HIGH <= 100."
            )

    @property
    def key(self) -> str:
        """Short text that differs for any two normalisations; usable in a cache key."""
        return self.kind if self.kind == "rgb" else f"{self.kind}:{self.low:g},{self.high:g}"

    def resolve(self, volume: Volume) -> IntensityWindow:
        """The window for this volume. Raises BadInputError if colours are treated as grey values or vice versa."""
        if volume.is_rgb != (self.kind == "rgb"):
            what = "an RGB" if volume.is_rgb else "a grey"
            raise BadInputError(f"Normalisation {self.key} does not fit {what} volume.", "Use normalisation auto.")
        if self.kind == "rgb":
            return IntensityWindow(0.0, 255.0)
        if self.kind == "window":
            return IntensityWindow(self.low, self.high)
        low, high = np.percentile(_foreground(sample(volume)), (self.low, self.high))
        if not low < high:  # nearly all of the foreground has one value
            low, high = volume.voxels.min(), volume.voxels.max()
        return IntensityWindow(float(low), float(high))

    def to_json(self) -> dict[str, Any]:
        """The fields, for a JSON file."""
        return {"kind": self.kind, "low": self.low, "high": self.high, "why": self.why}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`; raises BadInputError if it cannot be understood."""
        try:
            return cls(str(values["kind"]), float(values["low"]), float(values["high"]), str(values.get("why", "")))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"A stored normalisation cannot be read ({error}).", "Make the file again.") from error


def parse_normalisation(text: str, volume: Volume) -> Normalisation:
    """Parse "auto", the name of a CT window, "percentile:LOW,HIGH" or "window:LOW,HIGH".

    "auto" takes RGB as it is, the abdomen window for CT, and robust percentiles for all else. The DICOM modality
    decides; without it, a volume counts as CT if it looks like Hounsfield units: apart from padding, some air (below
    -700, with its noise) and much soft tissue (-150 to 250). A CT cropped to the inside of the body or stored
    without Hounsfield units is treated like MR; name a window for it.
    Raises BadInputError for any other text, and for grey-value windows of an RGB volume.
    """
    kind, _, values = text.strip().lower().partition(":")
    if kind == "auto" and not values:
        return _automatic(volume)
    if volume.is_rgb:
        raise BadInputError(f"Normalisation {text!r} does not fit an RGB volume.", "Use normalisation auto.")
    if kind in PRESETS and not values:
        return replace(preset(kind), why="asked for")
    try:
        low, high = (float(value) for value in values.split(","))
    except ValueError as error:
        raise _not_understood(text) from error
    if kind not in ("window", "percentile"):
        raise _not_understood(text)
    return Normalisation(kind, low, high, "asked for")


def _not_understood(text: str) -> BadInputError:
    choices = ", ".join(PRESETS)
    return BadInputError(
        f"Normalisation {text!r} is not known.", f"Use auto, {choices}, percentile:LOW,HIGH or window:LOW,HIGH."
    )


def _automatic(volume: Volume) -> Normalisation:
    if volume.is_rgb:
        return Normalisation("rgb", why="colour volume")
    ct, why = is_ct(volume)
    chosen = preset("abdomen") if ct else Normalisation("percentile", *ROBUST_PERCENTILES)
    return replace(chosen, why=why)


def is_ct(volume: Volume) -> tuple[bool, str]:
    """Whether a grey volume is a CT in Hounsfield units, and why."""
    if volume.modality == "CT" and not volume.is_rgb and np.ptp(sample(volume).astype(np.float64)) < _LEAST_RANGE:
        return False, "DICOM modality CT, but not in Hounsfield units"
    if volume.modality:
        return volume.modality == "CT", f"DICOM modality {volume.modality}"
    if _looks_like_ct(sample(volume)):
        return True, "looks like CT: air and soft tissue in Hounsfield units"
    return False, "does not look like CT in Hounsfield units"


def preset(name: str) -> Normalisation:
    """The window that radiologists know by this name."""
    level, width = PRESETS[name]
    return Normalisation("window", level - width / 2, level + width / 2)


def _looks_like_ct(values: np.ndarray) -> bool:
    """Without the smallest value: padding outside the field of view, which resampling sets to -1000 or -1024."""
    kept = values[values > values.min()]
    if kept.size == 0:
        return False
    air = np.count_nonzero(kept < _AIR) / kept.size
    soft = np.count_nonzero((kept >= _SOFT_TISSUE[0]) & (kept <= _SOFT_TISSUE[1])) / kept.size
    return bool(air > _LEAST_AIR and soft > _LEAST_SOFT)


def sample(volume: Volume) -> np.ndarray:
    """Up to about a million voxels, evenly spread, the same ones each time."""
    step = max(1, int(np.ceil((volume.voxels.size / _SAMPLES) ** (1 / 3))))
    steps = [slice(None, None, step if length > step else None) for length in volume.voxels.shape[:3]]
    return volume.voxels[tuple(steps)].ravel()


def _foreground(values: np.ndarray) -> np.ndarray:
    """Values without the padding around the scan, which is 0 or the smallest value."""
    inside = values[(values != 0) & (values != values.min())]
    return inside if inside.size > 0.01 * values.size else values
