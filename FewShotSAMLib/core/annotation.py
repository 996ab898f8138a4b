"""Sparse annotations: which slices of a segmentation are painted or declared empty, and what is painted on them."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.geometry import Geometry, slices_of
from FewShotSAMLib.core.painted_axis import AXIS_NAMES, check_one_axis, find_painted_axis
from FewShotSAMLib.core.segment import Segmentation

IGNORE = 255
MOST_SEGMENTS = 254


@dataclass(frozen=True, eq=False)
class Annotation:
    """A segmentation on the volume's grid whose slices `painted` along `axis` the user has finished.

    axis: array axis 0 = k, 1 = j, 2 = i. painted, empty: sorted slice indices; on the empty ones there is no segment.
    absent: for each segment the sorted slices declared to hold none of it; () if no segment has any.
    given: the value of `known` if it does not follow from the rest: because segments were left out (`of`), or because
    of the slices `assumed`, about which the user said nothing: a registered label stands in for paint or for no paint.
    """

    segmentation: Segmentation
    axis: int
    painted: tuple[int, ...]
    empty: tuple[int, ...] = ()
    absent: tuple[tuple[int, ...], ...] = ()
    given: tuple[tuple[int, ...], ...] | None = None
    assumed: tuple[int, ...] = ()

    def of(self, labels: Sequence[int]) -> "Annotation":
        """The annotation of only some of the segments 1 to C, with all that the others' paint says about them. Slices
        that add nothing are left out: none of these segments is on them, nor on the known slices next to them."""
        useful = {index for index in self.exemplars if any(self._informs_about(label, index) for label in labels)}

        def kept(indices: Iterable[int]) -> tuple[int, ...]:
            return tuple(index for index in indices if index in useful)

        known = tuple(kept(self.known[label - 1]) for label in labels)
        absent = tuple(kept(self.absent[label - 1]) if self.absent else () for label in labels)
        segments = tuple(self.segmentation.segments[label - 1] for label in labels)
        part = replace(self.segmentation, segments=segments)
        return Annotation(part, self.axis, kept(self.painted), kept(self.empty), absent, known, kept(self.assumed))

    def _informs_about(self, label: int, index: int) -> bool:
        """Whether a slice shows a segment, or shows that it has ended since a neighbouring known slice."""
        known = self.known[label - 1]
        place = bisect_left(known, index)
        neighbours = (*known[max(0, place - 1) : place], *known[place + 1 : place + 2])
        return self.shows(label, index) or (index in known and any(self.shows(label, each) for each in neighbours))

    @cached_property
    def exemplars(self) -> tuple[int, ...]:
        """Sorted indices of all slices about which something is known."""
        return tuple(sorted({*self.painted, *self.empty, *(index for each in self.absent for index in each)}))

    @cached_property
    def known(self) -> tuple[tuple[int, ...], ...]:
        """For each segment the sorted exemplars on which every pixel of it is known."""
        if self.given is not None:
            return self.given
        labels = range(1, len(self.segmentation.segments) + 1)
        shown = np.array([[label in self._shown[index] for index in self.painted] for label in labels])
        seen = known_on_painted(shown, np.asarray(self.painted))
        declared = self.absent or ((),) * len(seen)
        return tuple(
            tuple(sorted({*np.asarray(self.painted)[row].tolist(), *self.empty, *absent}))
            for row, absent in zip(seen, declared, strict=True)
        )

    @cached_property
    def complete(self) -> tuple[int, ...]:
        """The sorted exemplars on which every pixel is known."""
        return tuple(index for index in self.exemplars if all(index in known for known in self._known_sets))

    def unknown(self, index: int) -> frozenset[int]:
        """Segments 1 to C that are not known on a slice, except that they are not where others are painted."""
        return frozenset(label for label, known in enumerate(self._known_sets, start=1) if index not in known)

    def classes(self, index: int) -> np.ndarray:
        """What is painted on a slice, (rows, columns) uint8: 0 background, 1 to C the segments in their order.

        IGNORE where segments overlap.
        """
        layers = self.segmentation.layers[(slice(None),) * (self.axis + 1) + (index,)]
        classes: np.ndarray = np.take(self._tables[0], layers[0])
        for table, labels in zip(self._tables[1:], layers[1:], strict=True):
            found = np.take(table, labels)
            np.copyto(classes, np.where(classes > 0, IGNORE, found), where=found > 0)
        return classes

    def mask(self, label: int, index: int) -> np.ndarray:
        """Where a segment 1 to C is on a slice, (rows, columns) bool, whatever overlaps it."""
        segment = self.segmentation.segments[label - 1]
        layer = self.segmentation.layers[segment.layer]
        return np.asarray(np.moveaxis(layer, self.axis, 0)[index] == segment.label_value)

    def ruled_out(self, index: int) -> frozenset[int]:
        """Segments 1 to C that cannot be on a slice: those absent from both of the nearest slices on which they are
        known, or from the only one if the slice lies beyond all of these."""
        return frozenset(
            label
            for label, known in enumerate(self.known, start=1)
            if not any(label in self._shown[neighbour] for neighbour in _next_to(index, known))
        )

    def sought(self, index: int) -> frozenset[int]:
        """Segments 1 to C that have to be looked for on a slice."""
        return self.unknown(index) - self.ruled_out(index)

    @cached_property
    def _known_sets(self) -> tuple[frozenset[int], ...]:
        return tuple(map(frozenset, self.known))

    def shows(self, label: int, index: int) -> bool:
        """Whether a segment 1 to C is painted on a slice."""
        return label in self._shown.get(index, ())

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


def known_on_painted(shown: np.ndarray, slices: np.ndarray) -> np.ndarray:
    """Whether each segment is known on each painted slice, (C, n) bool, apart from what was declared.

    shown (C, n) bool: which segment is painted on which slice; slices (n,): their indices, sorted. Between the slices
    on which a segment is painted, a slice painted for others leaves it unknown. Beyond them, a slice that shows others
    means that it has ended, unless these are painted separately: never on the same slice as it, but on slices between
    its slices or the other way round. Then each structure has slices of its own.
    """
    first = np.where(shown, slices, slices[-1] + 1).min(axis=1, keepdims=True)
    last = np.where(shown, slices, -1).max(axis=1, keepdims=True)
    between = (first < slices) & (slices < last)
    times, within = shown.astype(int), between.astype(int)
    crosses = times @ within.T > 0
    apart = (times @ times.T == 0) & (crosses | crosses.T)
    beside_its_company = (~apart).astype(int) @ times > 0
    return shown | (~between & beside_its_company)


def annotate(
    segmentation: Segmentation,
    axis: int | None = None,
    empty_slices: Iterable[int] = (),
    painted_slices: Iterable[int] | None = None,
    empty_of: Mapping[str, Iterable[int]] | None = None,
) -> tuple[Annotation, list[str]]:
    """Find the painted slices of a segmentation that lies on the volume's grid; returns them and warnings.

    Without `painted_slices`, every slice along the axis with a label is painted; with it, exactly those are: labels
    elsewhere are cleared, and those of them without a label count as empty. Without `axis`, the labels show it.
    empty_of: slices that hold none of one segment, by its id, name or label value.

    Raises BadInputError for an annotation without labels, painted along two axes, with more than 254 segments, for a
    painted slice that is declared empty, for unknown segments, and for indices outside the volume.
    """
    segmentation, unpainted = _painted_segments(segmentation)
    layers = segmentation.layers
    occupied = layers[0] > 0 if len(layers) == 1 else np.asarray(layers.any(axis=0))  # many times as fast as `any`
    if not occupied.any():
        raise BadInputError("The annotation holds no painted voxel.", "Paint the structure on a few slices.")
    axis, warnings = _decide_axis(occupied, axis, segmentation.geometry, chosen=painted_slices is not None)
    empty = _indices(empty_slices, axis, segmentation.geometry, "empty")
    labelled: set[int] = {*slices_of(occupied, axis).tolist()}
    if painted_slices is not None:
        wanted = _indices(painted_slices, axis, segmentation.geometry, "painted")
        empty = empty | (wanted - labelled)
        segmentation, more = _keep(segmentation, axis, wanted | empty, labelled)
        warnings, labelled = warnings + more, labelled & (wanted | empty)
    if clash := sorted(labelled & empty):
        raise BadInputError(
            f"Slices {comma_list(clash)} along axis {axis} are declared empty but hold labels.",
            "Remove them from the empty slices or erase the labels.",
        )
    if not labelled:
        raise BadInputError("None of the slices given as painted holds a label.", "Check their numbers and the axis.")
    absent = _absent(empty_of or {}, segmentation, axis)
    annotation = Annotation(segmentation, axis, tuple(sorted(labelled)), tuple(sorted(empty)), absent)
    _check_absent(annotation)
    return annotation, [*unpainted, *warnings]


def _absent(wanted: Mapping[str, Iterable[int]], segmentation: Segmentation, axis: int) -> tuple[tuple[int, ...], ...]:
    """For each segment the slices that hold none of it; () if none were given. Raises BadInputError."""
    found = [set[int]() for _ in segmentation.segments]
    names = [segment.name for segment in segmentation.segments]
    ids = [segment.id for segment in segmentation.segments]
    values = [str(segment.label_value) for segment in segmentation.segments]
    for name, indices in wanted.items():
        meant = next((each for each in (ids, names, values) if name in each), [])
        numbers = [number for number, each in enumerate(meant) if each == name]
        if not numbers:
            raise BadInputError(
                f"Slices are declared empty of “{name}”, but there is no segment “{name}”.",
                f"Choose one of: {comma_list(names)}.",
            )
        for number in numbers:
            found[number] |= _indices(indices, axis, segmentation.geometry, "empty")
    return tuple(tuple(sorted(each)) for each in found) if any(found) else ()


def _check_absent(annotation: Annotation) -> None:
    """Raise BadInputError if a segment is painted on a slice that was declared to hold none of it."""
    for label, (segment, absent) in enumerate(
        zip(annotation.segmentation.segments, annotation.absent, strict=False), start=1
    ):
        if clash := [index for index in absent if annotation.shows(label, index)]:
            raise BadInputError(
                f"Slices {comma_list(clash)} are declared to hold none of “{segment.name}”, which is painted there.",
                "Remove them from its empty slices or erase it there.",
            )


def _painted_segments(segmentation: Segmentation) -> tuple[Segmentation, list[str]]:
    """The segmentation, without its unpainted segments if it has too many; and warnings of what was left out."""
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


def _indices(indices: Iterable[int], axis: int, geometry: Geometry, what: str) -> set[int]:
    numbers = {int(index) for index in indices}
    last = geometry.shape[axis] - 1
    if beyond := sorted(index for index in numbers if not 0 <= index <= last):
        raise BadInputError(
            f"There is no slice {comma_list(beyond)} along axis {axis} ({AXIS_NAMES[axis]}).",
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


def comma_list(items: Sequence[object], most: int = 8) -> str:
    """The first `most` items, separated by commas."""
    return ", ".join(map(str, items[:most])) + (", ..." if len(items) > most else "")


def _next_to(index: int, known: tuple[int, ...]) -> tuple[int, ...]:
    """Of the sorted known slices, the nearest on each side of a slice, as far as there are, or the slice itself."""
    return known[max(0, bisect_right(known, index) - 1) : bisect_left(known, index) + 1]
