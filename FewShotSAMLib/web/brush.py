"""The size of the brush: a place on a slider whose steps are alike by eye, from one voxel to a quarter of the slice."""

from __future__ import annotations

from dataclasses import dataclass

from FewShotSAMLib.core.geometry import Geometry

PLACES = 100
FIRST_PLACE = 55
STEP = 5
"""Places that one press of a key moves."""


@dataclass(frozen=True)
class BrushScale:
    """Diameters in mm at both ends of the slider."""

    smallest: float
    largest: float

    @classmethod
    def of(cls, geometry: Geometry) -> BrushScale:
        """The scale for a volume."""
        extent = sorted(length * spacing for length, spacing in zip(geometry.size, geometry.spacing, strict=True))
        smallest = min(geometry.spacing)
        return cls(smallest, max(extent[1] / 4, 2 * smallest))

    def diameter(self, place: float) -> float:
        """Diameter in mm at a place, 0 to PLACES; beyond the ends that of the end."""
        share = min(max(place, 0), PLACES) / PLACES
        return float(self.smallest * (self.largest / self.smallest) ** share)


def shown(diameter: float) -> float:
    """A diameter as it is shown."""
    return round(diameter, 1) if diameter < 10 else round(diameter)
