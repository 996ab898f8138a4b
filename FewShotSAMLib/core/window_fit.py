"""Checks that what was painted, or learned, is visible in the window through which the encoder sees a volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.intensity import IntensityWindow, Normalisation, is_ct, preset, sample
from FewShotSAMLib.core.volume import Volume

_MOST_OUTSIDE = 0.5
"""A segment of which a larger share is black or white in a window is not visible in it."""
_FEW_OUTSIDE = 0.1
_OTHER_WINDOWS = ("lung", "bone", "temporal-bone")
_PAINTED_PERCENTILES = (1.0, 99.0)
_MOST_VALUES = 100_000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_ALIKE, _ALIKE_ENOUGH, _LEAST_SPREAD, _LEAST_SHOWN = 0.3, 0.2, 0.2, 0.05


def fitted_normalisation(
    normalisation: Normalisation, volume: Volume, annotation: Annotation, is_choice: bool
) -> tuple[Normalisation, list[str]]:
    """The normalisation, or another one if the painted segments have no contrast in it; and warnings.

    is_choice: the user asked for it, so that it stays and only a warning is given.
    """
    if volume.is_rgb:
        return normalisation, []
    values = _painted_values(volume, annotation)
    window = normalisation.resolve(volume)
    hidden = [name for name, painted in values.items() if _outside(painted, window) > _MOST_OUTSIDE]
    if not hidden:
        return normalisation, []
    text = f"{_listed(hidden)} {'lies' if len(hidden) == 1 else 'lie'} outside the window {_span(window)}"
    other, name = _better(normalisation, volume, list(values.values()))
    if is_choice:
        return normalisation, [f"{text} and cannot be told apart from the surroundings. Try the normalisation {name}."]
    why = f"{normalisation.why}; what was painted lies outside {_span(window)}"
    return replace(other, why=why), [
        f"{text}; the window {name} was used instead. Choose another normalisation if it does not suit."
    ]


def _painted_values(volume: Volume, annotation: Annotation) -> dict[str, np.ndarray]:
    """Intensities of each painted segment, by its name; at most some 100 000 of each."""
    found: dict[str, list[np.ndarray]] = {}
    classes = {index: annotation.classes(index) for index in annotation.painted}
    for label, segment in enumerate(annotation.segmentation.segments, start=1):
        for index, map_ in classes.items():
            inside = volume.slice_at(annotation.axis, index)[map_ == label]
            if inside.size:
                found.setdefault(segment.name, []).append(inside[:: 1 + inside.size * len(classes) // _MOST_VALUES])
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in found.items()}


def _outside(values: np.ndarray, window: IntensityWindow) -> float:
    return float(np.mean((values <= window.low) | (values >= window.high)))


def _better(normalisation: Normalisation, volume: Volume, painted: Sequence[np.ndarray]) -> tuple[Normalisation, str]:
    """A window that shows all segments, and its name on the command line."""
    for name in _OTHER_WINDOWS if is_ct(volume)[0] else ():
        other = preset(name)
        if all(_outside(values, other.resolve(volume)) <= _FEW_OUTSIDE for values in painted):
            return other, name
    window = normalisation.resolve(volume)
    low, high = np.percentile(np.concatenate(painted), _PAINTED_PERCENTILES).tolist()
    margin = 0.1 * (high - low)
    low, high = min(window.low, low - margin), max(window.high, high + margin)
    return Normalisation("window", low, high), f"window:{low:.4g},{high:.4g}"


def _span(window: IntensityWindow) -> str:
    return f"{window.low:.4g} to {window.high:.4g}"


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(f"“{name}”" for name in names[:3])
    return text + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@dataclass(frozen=True)
class IntensityProfile:
    """How a volume looks through a window: the share of voxels above its lower end, and quantiles of those, 0 to 1."""

    ct: bool
    shown: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, volume: Volume, window: IntensityWindow) -> Self:
        """The profile of a volume."""
        values = window.apply(sample(volume)).ravel()
        inside = values[values > 0]
        quantiles = np.quantile(inside, _QUANTILES) if inside.size else np.zeros(len(_QUANTILES))
        ct = not volume.is_rgb and is_ct(volume)[0]
        return cls(ct, inside.size / values.size, tuple(round(float(value), 4) for value in quantiles))

    def to_json(self) -> dict[str, Any]:
        """The fields, for a JSON file."""
        return {"ct": self.ct, "shown": self.shown, "quantiles": list(self.quantiles)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Self | None:
        """The inverse of `to_json`; None, as in older models, gives None. Raises KeyError, TypeError, ValueError."""
        if values is None:
            return None
        return cls(bool(values["ct"]), float(values["shown"]), tuple(float(value) for value in values["quantiles"]))

    def strangeness(self, other: "IntensityProfile") -> str:
        """What makes another volume look unlike this one through the same window; empty if it looks alike."""
        apart = np.mean(np.abs(np.subtract(self.quantiles, other.quantiles)))
        if self.ct != other.ct and apart > _ALIKE_ENOUGH:  # is_ct does not recognise a CT of the inside of a body alone
            learned, shown = ("CT" if each.ct else "something other than CT" for each in (self, other))
            return f"the model was learned on {learned}, and this volume looks like {shown}"
        if other.shown < _LEAST_SHOWN * self.shown:
            return f"only {other.shown:.2%} of the volume reaches into the model's window"
        bright = other.quantiles[2] - self.quantiles[2]
        if apart > _ALIKE:
            return f"it is far {'brighter' if bright > 0 else 'darker'} in the model's window than the model's volume"
        ours, theirs = (each.quantiles[-1] - each.quantiles[0] for each in (self, other))
        if theirs < _LEAST_SPREAD * ours:
            return "it has hardly any contrast in the model's window"
        return ""
