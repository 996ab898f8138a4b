"""Segments and segmentations as they are in memory, whatever file they come from."""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry

LONGEST_NAME = 255
"""Maximum number of characters of a segment's name or ID."""
LARGEST_LABEL = 65535


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

    def __post_init__(self) -> None:
        """Raise BadInputError for a segment that could not be saved and read back unchanged."""
        texts = (("name", self.name), ("ID", self.id), *(("tag", text) for pair in self.tags.items() for text in pair))
        for what, text in texts:
            if not isinstance(text, str) or (what != "tag" and len(text) > LONGEST_NAME):
                shown = f"A segment has the {what} {str(text)[:40]}..."
                raise BadInputError(f"{shown}, not a text of at most {LONGEST_NAME} characters.", "Rename it.")
        if not self.id:
            raise BadInputError(f"The segment “{self.name}” has no ID.", "Save it again in 3D Slicer.")
        for what, number, least in (("label value", self.label_value, 1), ("layer", self.layer, 0)):
            is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
            if not is_whole or not least <= number <= LARGEST_LABEL:
                raise BadInputError(
                    f"The segment “{self.name}” has the {what} {str(number)[:40]}, which is out of range.",
                    f"Use label values from 1 to {LARGEST_LABEL}.",
                )
        parts = [part for part in self.color if isinstance(part, float | int | np.number) and 0 <= part <= 1]
        if len(parts) != 3 or len(self.color) != 3:
            raise BadInputError(
                f"The segment “{self.name}” has a colour other than three numbers from 0 to 1.", "Give it another one."
            )


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments on a grid; they may overlap if they are in different layers.

    layers: (L, K, J, I), the smallest unsigned dtype that holds the label values; a voxel of no segment is 0.
    fields: what the file said about the whole segmentation, such as Slicer's conversion parameters, by Slicer's keys.
    """

    layers: np.ndarray
    geometry: Geometry
    segments: tuple[Segment, ...]
    fields: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInputError if two segments have the same ID."""
        ids = [segment.id for segment in self.segments]
        if len(set(ids)) < len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise BadInputError(f"Two segments have the same ID “{twice}”.", "Save the file again in 3D Slicer.")

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


def hex_color(color: Iterable[float]) -> str:
    """A colour of three numbers from 0 to 1 as #rrggbb."""
    return "#" + bytes(round(255 * min(max(part, 0.0), 1.0)) for part in color).hex()


def segments_of_labels(values: Sequence[int]) -> tuple[Segment, ...]:
    """Segments named after the values of a plain label map, "Segment 3" for 3."""
    return tuple(
        Segment(f"Segment_{value}", f"Segment {value}", default_color(value), value, color_auto_generated=True)
        for value in values
    )


def matching_names(ours: Sequence[str], theirs: Sequence[str]) -> dict[int, int]:
    """Match our segments to theirs of the same name, ignoring case: from our number to their number, both from 1. If
    both have only one segment, these two match."""
    if len(ours) == len(theirs) == 1:
        return {1: 1}
    numbers = {name.casefold(): number for number, name in reversed(list(enumerate(theirs, start=1)))}
    named = [(label, name.casefold()) for label, name in enumerate(ours, start=1)]
    return {label: numbers[name] for label, name in named if name in numbers}


def nothing_painted(path: Path) -> BadInputError:
    """The error for a segmentation without a voxel."""
    return BadInputError(f"{path} holds no painted voxel.", "Paint the structure on a few slices and save it again.")
