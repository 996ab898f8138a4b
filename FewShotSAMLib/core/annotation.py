"""Sparse annotations: which slices of a segmentation are painted or declared empty, and what is painted on them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.painted_axis import AXIS_NAMES, check_one_axis, find_painted_axis
from FewShotSAMLib.core.segment import Segmentation

IGNORE = 255
MOST_SEGMENTS = 254


@dataclass(frozen=True, eq=False)
class Annotation:
    """A segmentation on the volume's grid of which the slices `painted` along `axis` are finished by the user.

    axis: array axis 0 = k, 1 = j, 2 = i. painted, empty: sorted slice indices; on the empty ones there is no segment.
    """

    segmentation: Segmentation
    axis: int
    painted: tuple[int, ...]
    empty: tuple[int, ...] = ()

    @property
    def exemplars(self) -> tuple[int, ...]:
        """Indices of all slices whose every pixel is known, sorted."""
        return tuple(sorted(self.painted + self.empty))

    def classes(self, index: int) -> np.ndarray:
        """What is painted on a slice, (rows, columns) uint8: 0 background, 1 to C the segments in their order.

        IGNORE where segments overlap.
        """
        layers = self.segmentation.layers[(slice(None),) * (self.axis + 1) + (index,)]
        classes = np.zeros(layers.shape[1:], np.uint8)
        for table, labels in zip(self._tables, layers, strict=True):
            found = table[labels]
            np.copyto(classes, np.where(classes > 0, IGNORE, found), where=found > 0)
        return classes

    def ruled_out(self, index: int) -> frozenset[int]:
        """Segments 1 to C that cannot be on a slice: those on neither of the known slices next to it, or not on the
        one there is where it lies beyond all others."""
        below = max((known for known in self.exemplars if known <= index), default=None)
        above = min((known for known in self.exemplars if known >= index), default=None)
        shown = [self._shown[known] for known in (below, above) if known is not None]
        return frozenset(range(1, len(self.segmentation.segments) + 1)).difference(*shown)

    @cached_property
    def _shown(self) -> dict[int, frozenset[int]]:
        """The segments 1 to C on each known slice."""
        axis = (slice(None),) * self.axis
        return {
            index: frozenset(
                label
                for label, segment in enumerate(self.segmentation.segments, start=1)
                if bool((self.segmentation.layers[segment.layer][(*axis, index)] == segment.label_value).any())
            )
            for index in self.exemplars
        }

    @cached_property
    def _tables(self) -> np.ndarray:
        return self.segmentation.class_tables()


def annotate(
    segmentation: Segmentation,
    axis: int | None = None,
    empty_slices: Iterable[int] = (),
    painted_slices: Iterable[int] | None = None,
) -> tuple[Annotation, list[str]]:
    """Find the painted slices of a segmentation that lies on the volume's grid; returns them and warnings.

    Without `painted_slices` every slice with a label along the axis is painted; with it exactly those are, labels
    elsewhere are cleared, and those of them without a label count as empty. Without `axis` it is found from the labels.
    Raises BadInputError for an annotation without labels, painted along two axes, with more than 254 segments, for a
    painted slice that is declared empty, and for indices outside the volume.
    """
    segmentation, unpainted = _painted_segments(segmentation)
    occupied = np.asarray(segmentation.layers.any(axis=0))
    if not occupied.any():
        raise BadInputError("The annotation holds no painted voxel.", "Paint the structure on a few slices.")
    axis, warnings = _decide_axis(occupied, axis, segmentation.geometry, chosen=painted_slices is not None)
    empty = _indices(empty_slices, axis, segmentation.geometry, "empty")
    labelled = _labelled_slices(occupied, axis)
    if painted_slices is not None:
        wanted = _indices(painted_slices, axis, segmentation.geometry, "painted")
        empty = empty | (wanted - labelled)
        segmentation, more = _keep(segmentation, axis, wanted | empty, labelled)
        warnings, labelled = warnings + more, labelled & (wanted | empty)
    if clash := sorted(labelled & empty):
        raise BadInputError(
            f"Slices {_listed(clash)} along axis {axis} are declared empty but hold labels.",
            "Take them from the empty slices or erase the labels.",
        )
    if not labelled:
        raise BadInputError("None of the slices given as painted holds a label.", "Check their numbers and the axis.")
    return Annotation(segmentation, axis, tuple(sorted(labelled)), tuple(sorted(empty))), [*unpainted, *warnings]


def _painted_segments(segmentation: Segmentation) -> tuple[Segmentation, list[str]]:
    """The segmentation, without the segments that are listed only where there are too many; and what was left out."""
    if len(segmentation.segments) <= MOST_SEGMENTS:
        return segmentation, []
    present = [np.bincount(layer.ravel(), minlength=1 << 16) > 0 for layer in segmentation.layers]
    held = tuple(each for each in segmentation.segments if present[each.layer][each.label_value])
    if len(held) > MOST_SEGMENTS:
        raise BadInputError(
            f"The annotation has {len(held)} painted segments.", f"Keep at most {MOST_SEGMENTS} in one run."
        )
    left_out = len(segmentation.segments) - len(held)
    return replace(segmentation, segments=held), [f"{left_out} segments without any paint were left out."]


def _decide_axis(occupied: np.ndarray, axis: int | None, geometry: Geometry, chosen: bool) -> tuple[int, list[str]]:
    if axis is not None and axis not in (0, 1, 2):
        raise BadInputError(f"There is no axis {axis}.", "Use 0, 1, 2 or auto.")
    if not chosen:
        check_one_axis(occupied)
    return (axis, []) if axis is not None else find_painted_axis(occupied, geometry.spacing_kji)


def _labelled_slices(occupied: np.ndarray, axis: int) -> set[int]:
    others = tuple(other for other in range(3) if other != axis)
    return {int(index) for index in np.flatnonzero(occupied.any(axis=others))}


def _indices(indices: Iterable[int], axis: int, geometry: Geometry, what: str) -> set[int]:
    numbers = {int(index) for index in indices}
    last = geometry.shape[axis] - 1
    if beyond := sorted(index for index in numbers if not 0 <= index <= last):
        raise BadInputError(
            f"There is no slice {_listed(beyond)} along axis {axis} ({AXIS_NAMES[axis]}).",
            f"Give {what} slices from 0 to {last}.",
        )
    return numbers


def _keep(
    segmentation: Segmentation, axis: int, kept: Collection[int], labelled: set[int]
) -> tuple[Segmentation, list[str]]:
    """The segmentation with the labels of slices other than `kept` cleared."""
    dropped = sorted(labelled - set(kept))
    if not dropped:
        return segmentation, []
    layers = segmentation.layers.copy()
    layers[(slice(None),) * (axis + 1) + (dropped,)] = 0
    return replace(segmentation, layers=layers), [
        f"The labels on {len(dropped)} slices not given as painted were ignored."
    ]


def _listed(indices: list[int], most: int = 8) -> str:
    text = ", ".join(str(index) for index in indices[:most])
    return text + (", ..." if len(indices) > most else "")
