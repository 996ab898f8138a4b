"""Adds the labels of earlier volumes to the slices painted here: what to assume where nothing is painted.

Each atlas of each few-shot model is registered to the volume. A label that agrees with the painted slices is weighted
by that agreement and corrected by them; it then takes the place of paint on a few slices far from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from FewShotSAMLib.core.annotation import IGNORE, Annotation
from FewShotSAMLib.core.atlas import Atlas, Transferred, by_image
from FewShotSAMLib.core.contributions import NOT_USED
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.hints import hint
from FewShotSAMLib.core.registered_labels import TRUSTED, PaintedMasks, agreement, corrected_label, stand_in_slices
from FewShotSAMLib.core.segment import matching_names
from FewShotSAMLib.engine.model_file import FewShotModel
from FewShotSAMLib.engine.transfer import registered, volumes_that_fit
from FewShotSAMLib.engine.volume_run import VolumeRun
from FewShotSAMLib.methods.registry import get_method

SHARPNESS = 4
"""Power of the agreement with which the labels of several volumes are weighted."""
NO_IMAGE = (
    "it was saved without the image around its segments, or this volume is in colour or too thin to be registered"
)
NO_ROOM = "for a volume of this size, the labels of so many volumes do not fit into memory"
SAME = "another model already contains its volumes"
NO_SEGMENT = "none of its segments has the name of a painted one"
NOT_ALIKE = "this volume does not resemble the one that it was learned on (correlation {0:.2f})"
DISAGREES = "its labels agree too poorly with the painted slices (Dice {0:.2f}, {1} is needed)"


@dataclass(frozen=True)
class Earlier:
    """A few-shot model of another volume, and its name."""

    name: str
    model: FewShotModel


@dataclass(frozen=True)
class Assumed:
    """annotation: the painted slices, plus the assumed labels on its slices `assumed`; report: for each volume of each
    model its name, whether it was used or why not, likeness, and agreement and weight by segment; atlases: those that
    were used, with the classes of the segments painted here."""

    annotation: Annotation
    report: list[dict[str, Any]]
    atlases: tuple[Atlas, ...] = ()


@dataclass
class _Registered:
    """Labels of one of a model's volumes, registered to this one: shares (D, H, W), of 255, by segment 1 to C painted
    here, and their agreement; atlas: their source, with the classes of the segments painted here."""

    report: dict[str, Any]
    shares: dict[int, np.ndarray] = field(default_factory=dict)
    agreement: dict[int, float] = field(default_factory=dict)
    atlas: Atlas | None = None


def assume(run: VolumeRun, annotation: Annotation, earlier: Sequence[Earlier], method: str) -> Assumed:
    """What models of earlier volumes add to an annotation; the annotation itself if none is usable. The user is warned
    of each unusable model. Raises BadInputError if the method cannot use such models."""
    if not earlier:
        return Assumed(annotation, [])
    if not get_method(method).load().for_encoder(run.encoder.spec.architecture).transfers:
        raise BadInputError(
            f"The method “{method}” on the encoder {run.encoder.spec.name} learns from painted slices alone.",
            hint("no-earlier"),
        )
    known = _known(annotation)
    results, seen = list[_Registered](), set[bytes]()
    for model in earlier:
        results += (of_model := _register(run, annotation, known, model, seen))
        if not any(each.shares for each in of_model):
            run.context.warning(NOT_USED.format(*(of_model[0].report[part] for part in ("name", "why"))))
    weights = _weights(results)
    spacing = run.volume.geometry.spacing_kji
    along = [spacing[run.axis], *(mm for other, mm in enumerate(spacing) if other != run.axis)]
    guesses = {}
    for label, of in weights.items():
        weighed = [(results[number].shares[label], weight) for number, weight in of.items()]
        guesses[label] = _guess(weighed, known[label], along)
    report = [
        {**each.report, "weights": _named(annotation, {k: round(w[n], 3) for k, w in weights.items() if n in w})}
        for n, each in enumerate(results)
    ]
    kept = tuple(each.atlas for each in results if each.atlas is not None)
    return Assumed(_with_guesses(annotation, guesses), report, kept)


@dataclass(frozen=True)
class _Guess:
    """Where a segment is assumed: masks' shares (H, W) by slice; and slices beyond its ends, without it."""

    shares: dict[int, np.ndarray]
    ends: list[int]


def _guess(weighed: Sequence[tuple[np.ndarray, float]], known: PaintedMasks, along: Sequence[float]) -> _Guess:
    """Combine several labels, shares (D, H, W) of 255 with their weights, each corrected by what is painted; along:
    spacing in mm."""
    shown = np.logical_or.reduce([share.any(axis=0) for share, _ in weighed] + list(known.masks.values()))
    box = tuple(_with_margin(np.flatnonzero(shown.any(axis))) for axis in (1, 0))
    inside = PaintedMasks({index: mask[box] for index, mask in known.masks.items()})
    every = (slice(None), *box)
    parts = [
        weight * corrected_label(share[every].astype(np.float32) / 255, inside, along) for share, weight in weighed
    ]
    joint = np.sum(parts, axis=0)
    slices, ends = stand_in_slices(joint, inside, along)
    found = {index: np.zeros(shown.shape, np.float32) for index in slices}
    for index, share in found.items():
        share[box] = joint[index]
    return _Guess(found, ends)


def _with_margin(held: np.ndarray) -> slice:
    """From the first to the last of these indices, plus half that extent on either side: structures move and grow."""
    margin = (int(held[-1]) - int(held[0]) + 2) // 2
    return slice(max(0, int(held[0]) - margin), int(held[-1]) + margin + 1)


def _known(annotation: Annotation) -> dict[int, PaintedMasks]:
    """What is painted of each segment that has paint."""
    found = {}
    for label, indices in enumerate(annotation.known, start=1):
        known = PaintedMasks({index: annotation.classes(index) == label for index in indices})
        if known.painted:
            found[label] = known
    return found


def _register(
    run: VolumeRun, annotation: Annotation, known: Mapping[int, PaintedMasks], earlier: Earlier, seen: set[bytes]
) -> list[_Registered]:
    """The labels of each of a model's volumes on this one; a single empty result if none can be registered. seen:
    images of volumes used before, extended here: a model that grew contains the volumes of models before it."""
    model = earlier.model
    ours, names = ([each.name for each in some] for some in (annotation.segmentation.segments, model.segments))
    theirs = matching_names(ours, names)
    if not known.keys() & theirs.keys():
        return [_Registered({"name": earlier.name, "used": False, "why": NO_SEGMENT})]
    images = by_image(model.atlases)
    new = [key for key in images if key not in seen][: max(0, volumes_that_fit(run, len(model.segments)) - len(seen))]
    if images and not new:
        return [_Registered({"name": earlier.name, "used": False, "why": SAME if images.keys() <= seen else NO_ROOM})]
    seen.update(new)
    atlases = [images[key] for key in new]
    found = registered(run, atlases, len(model.segments), model.normalisation)
    if not found:
        return [_Registered({"name": earlier.name, "used": False, "why": NO_IMAGE})]
    several = len(found) > 1
    results = []
    for number, (atlas, each) in enumerate(zip(atlases, found, strict=True), start=1):
        name = f"{earlier.name} ({number} of {len(found)})" if several else earlier.name
        labels = _as_painted(replace(atlas, normalisation=atlas.normalisation or model.normalisation), theirs)
        shares = {k: np.moveaxis(each.shares[n - 1], run.axis, 0) for k, n in theirs.items() if k in known}
        results.append(_judged(annotation, known, name, each, shares, labels))
    return results


def _judged(
    annotation: Annotation,
    known: Mapping[int, PaintedMasks],
    name: str,
    found: Transferred,
    shares: Mapping[int, np.ndarray],
    labels: Atlas,
) -> _Registered:
    """The part of a registered atlas to use: nothing unless both volumes are alike, else the segments that agree."""
    report: dict[str, Any] = {"name": name, "used": False, "why": "", "likeness": round(found.likeness, 3)}
    if not found.is_alike:
        report["why"] = NOT_ALIKE.format(found.likeness)
        return _Registered(report)
    agrees = {label: agreement(share, known[label]) for label, share in shares.items()}
    report["agreement"] = _named(annotation, {label: round(value, 3) for label, value in agrees.items()})
    kept = {label: share for label, share in shares.items() if agrees[label] >= TRUSTED}
    report["used"] = bool(kept)
    if not kept:
        report["why"] = DISAGREES.format(max(agrees.values()), TRUSTED)
        return _Registered(report)
    return _Registered(report, kept, agrees, labels)


def _as_painted(atlas: Atlas, theirs: Mapping[int, int]) -> Atlas:
    """An atlas with the classes of the segments painted here, and background for all its others."""
    own = np.zeros(256, np.uint8)
    for label, number in theirs.items():
        own[number] = label
    return replace(atlas, classes=own[atlas.classes])


def _named(annotation: Annotation, values: Mapping[int, float]) -> dict[str, float]:
    segments = annotation.segmentation.segments
    return {segments[label - 1].name: value for label, value in values.items()}


def _weights(results: Sequence[_Registered]) -> dict[int, dict[int, float]]:
    """For each segment, the weights of the volumes that contribute to it, by index in `results`; they sum to 1."""
    weights: dict[int, dict[int, float]] = {}
    for number, each in enumerate(results):
        for label in each.shares:
            weights.setdefault(label, {})[number] = each.agreement[label] ** SHARPNESS
    return {label: {number: value / sum(of.values()) for number, value in of.items()} for label, of in weights.items()}


def _with_guesses(annotation: Annotation, guesses: Mapping[int, _Guess]) -> Annotation:
    """The annotation with guessed labels on slices without any known labels."""
    taken = {*annotation.exemplars}
    count = len(annotation.segmentation.segments)
    painted: dict[int, set[int]] = {}
    absent = [set(annotation.absent[n]) if annotation.absent else set[int]() for n in range(count)]
    for label, guess in guesses.items():
        for index in guess.shares.keys() - taken:
            painted.setdefault(index, set()).add(label)
        absent[label - 1] |= {*guess.ends} - taken
    added = sorted({*painted, *(index for each in absent for index in each)} - taken)
    if not added:
        return annotation
    given = tuple(
        tuple(sorted({*annotation.known[n], *absent[n], *(i for i, labels in painted.items() if n + 1 in labels)}))
        for n in range(count)
    )
    layers = annotation.segmentation.layers.copy()
    for index, labels in painted.items():
        _paint(layers, annotation, index, {label: guesses[label].shares[index] for label in labels})
    return Annotation(
        replace(annotation.segmentation, layers=layers),
        annotation.axis,
        tuple(sorted({*annotation.painted, *painted})),
        annotation.empty,
        tuple(tuple(sorted(each)) for each in absent),
        given,
        tuple(added),
    )


def _paint(layers: np.ndarray, annotation: Annotation, index: int, shares: Mapping[int, np.ndarray]) -> None:
    """Label a slice in place: each pixel gets the label with the largest share."""
    labels, stack = list(shares), np.stack(list(shares.values()))
    best = np.where(stack.max(axis=0) >= 0.5, stack.argmax(axis=0), IGNORE)
    for number, label in enumerate(labels):
        segment = annotation.segmentation.segments[label - 1]
        np.moveaxis(layers[segment.layer], annotation.axis, 0)[index][best == number] = segment.label_value
