"""Segments and segmentations as they are in memory, whatever file they come from."""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from FewShotSAMLib.core.geometry import Geometry


@dataclass(frozen=True)
class Segment:
    """One structure: its voxels are those of layer `layer` that hold `label_value`.

    color: red, green, blue, 0 to 1. tags: Slicer's, among them `Segmentation.Status` and `TerminologyEntry`.
    """

    id: str
    name: str
    color: tuple[float, float, float]
    label_value: int
    layer: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    name_auto_generated: bool = False
    color_auto_generated: bool = False


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments on a grid; they may overlap where they lie in different layers.

    layers: (L, K, J, I), the smallest unsigned dtype that holds the label values; a voxel of no segment is 0.
    fields: what the file said about the whole segmentation, such as Slicer's conversion parameters, by Slicer's keys.
    """

    layers: np.ndarray
    geometry: Geometry
    segments: tuple[Segment, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def mask(self, segment: Segment) -> np.ndarray:
        """The voxels of a segment, (K, J, I) bool."""
        return self.layers[segment.layer] == segment.label_value

    def class_tables(self) -> np.ndarray:
        """For each layer a table from label value to class, 1 to C in the order of the segments; (L, 65536) uint8.

        Only for up to 254 segments.
        """
        tables = np.zeros((len(self.layers), 1 << 16), np.uint8)
        for number, segment in enumerate(self.segments, start=1):
            tables[segment.layer, segment.label_value] = number
        return tables


def default_color(number: int) -> tuple[float, float, float]:
    """A colour for segment 0, 1, 2 ...; hues follow the golden ratio, so that neighbours differ most."""
    return colorsys.hsv_to_rgb((0.03 + number * 0.618034) % 1.0, (0.65, 0.45, 0.85)[number % 3], 0.9)


def segments_of_labels(values: Sequence[int]) -> tuple[Segment, ...]:
    """Segments named after the values of a plain label map, "Segment 3" for 3."""
    return tuple(
        Segment(f"Segment_{value}", f"Segment {value}", default_color(value), value, color_auto_generated=True)
        for value in values
    )
