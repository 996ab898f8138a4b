"""Shape priors: what the painted slices, alone or with the image's help, say about the slices between them.

Everything here is arithmetic without learned weights. The network learns when to trust which prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from FewShotSAMLib.bundled.components import is_enabled
from FewShotSAMLib.bundled.flow import slice_flow, warp
from FewShotSAMLib.bundled.fusion import KINDS
from FewShotSAMLib.bundled.geodesic import geodesic_prior
from FewShotSAMLib.sam.fast.parallel import ComputedOnce

FADE = 0.5
"""Least number of pixels by which a shape shrinks per pixel of distance beyond the outermost painted slice."""
FADE_ALONE = 0.1
"""The same where the segment is painted on a single slice, which lies in its middle rather than near its end. Between
the two values where several painted slices lie closer together than the segment's radius."""
FADE_DECLARED = 0.05
"""And where its other end was declared (or an earlier volume's label assumes it): this end would then be declared, too,
if it were in the volume."""
FARTHEST = 3.0
"""Beyond the outermost exemplar that shows it, a structure is searched for over this many times the distance in which
a shape of its radius there shrinks to nothing."""
LEAST_WAY = 32.0
"""But at least over this many pixels."""
FLOWS_AT_ONCE = 64

Slices = Callable[[Sequence[int]], Tensor]
"""Slices (n, H, W) in 0..1 by their indices."""

REACH = 16.0
"""Signed distances are clipped at this many pixels."""
SCALE = 4.0
"""Pixels of signed distance per unit of a prior's logit."""


@dataclass(frozen=True)
class Painted:
    """The exemplars on the prior's grid: slice numbers, ascending, and for each segment its share of every pixel.

    slices (n,), masks (n, C, H, W) in 0..1; slice_step: slice distance in pixels of the grid. declared (n, C) bool:
    where the user said that a segment is absent; None if that holds for the slices that show no segment. others (H, W)
    bool by slice: on slices that are not exemplars, pixels known to belong to none of the segments.
    """

    slices: tuple[int, ...]
    masks: Tensor
    slice_step: float
    declared: Tensor | None = None
    others: Mapping[int, Tensor] = field(default_factory=dict)

    def ends(self) -> Tensor:
        """Return `declared` (n, C), derived from the masks if it is None."""
        if self.declared is not None:
            return self.declared
        empty = torch.tensor([not bool(masks.any()) for masks in self.masks])
        return empty.unsqueeze(1).expand(-1, self.masks.shape[1])

    def spreads(self) -> Tensor:
        """Return the distance (C,) in pixels between a segment's outermost painted slices; 0 for fewer than two."""
        shows = (self.masks > 0).flatten(2).any(2).cpu()
        places = torch.tensor(self.slices).float().unsqueeze(1) * self.slice_step
        last = torch.where(shows, places, -torch.inf).amax(0)
        return (last - torch.where(shows, places, torch.inf).amin(0)).clamp_min(0)


@dataclass(frozen=True)
class Neighbours:
    """The exemplars around a slice: positions in `Painted.slices`, None beyond the first and last; share: 0 at `below`,
    1 at `above`."""

    below: int | None
    above: int | None
    share: float


@dataclass(frozen=True)
class Gap:
    """What is known of the slices from `first` on, between two exemplars or beyond an outermost one as far as
    structures reach: geodesic (C, n, H, W); carried (C, H, W): signed distances by exemplar and slice; both in half
    precision."""

    first: int
    geodesic: ComputedOnce[Tensor]
    carried: Mapping[int, ComputedOnce[dict[int, Tensor]]]

    def explore(self) -> None:
        """Compute whatever other threads have not begun: several threads predict slices of the same gap."""
        for part in self.carried.values():
            part.begin()
        self.geodesic.begin()


class Priors:
    """Shape priors of a volume for every slice and segment, computed gap by gap on demand.

    flows: the slices and their flows, to be shared; depth: number of slices; spreads (C,): the segments' spreads, if
    they cannot be derived from `painted`.
    """

    def __init__(self, flows: Flows, depth: int, painted: Painted, spreads: Tensor | None = None) -> None:
        self.painted = painted
        self.depth = depth
        self._flows = flows
        self._spreads = (painted.spreads() if spreads is None else spreads).view(-1, 1, 1)
        self._is_declared_empty = painted.ends().cpu()
        self._alone = torch.where(self._is_declared_empty.any(0), FADE_DECLARED, FADE_ALONE).view(-1, 1, 1)
        self._distances = torch.stack([torch.stack([signed_distance(m) for m in masks]) for masks in painted.masks])
        self._radii = self._distances.amax((-2, -1)).clamp_min(0)
        self._gaps: dict[tuple[int | None, int | None], Gap] = {}

    def may_contain(self, label: int, index: int) -> bool:
        """Return whether segment `label` can be on a slice at all: not between two exemplars without it, nor far from
        the outermost one that shows it."""
        around = neighbours(self.painted.slices, index)
        sides = _sides(around)
        radius = max(float(self._radii[side, label - 1]) for side in sides)
        if radius <= 0:
            return False
        way = abs(index - self.painted.slices[sides[0]]) * self.painted.slice_step
        return len(sides) == 2 or way <= float(self._reach(sides[0])[label - 1])

    def maps(self, index: int) -> Tensor:
        """Return the priors (C, len(KINDS), H, W) of one slice, each about -4..4, positive inside."""
        around = neighbours(self.painted.slices, index)
        still = self._blend(around, index, [self._distances[i] for i in _sides(around)])
        if index in self.painted.slices:
            inside = self.painted.masks[self.painted.slices.index(index)].cpu() >= 0.5
            moved, geodesic = still, 2 * inside.float() - 1
        elif any(self.may_contain(label, index) for label in range(1, len(still) + 1)):
            gap = self._gap(around)
            moved = self._blend(around, index, [gap.carried[i]()[index].float() for i in _sides(around)])
            geodesic = gap.geodesic()[:, index - gap.first].float()
        else:
            moved, geodesic = still, torch.full_like(still, -1.0)
        moved = moved if is_enabled("transport") else still
        geodesic = geodesic if is_enabled("geodesic") else (still / SCALE).clamp(-1, 1)
        return _maps(still, moved, geodesic)

    def _gap(self, around: Neighbours) -> Gap:
        """The gap between these exemplars, including both."""
        key = (around.below, around.above)
        if key not in self._gaps:
            self._gaps.setdefault(key, self._new_gap(around))  # threads that come at once share one gap
        self._gaps[key].explore()
        return self._gaps[key]

    def _new_gap(self, around: Neighbours) -> Gap:
        known = self.painted.slices
        reach = math.ceil(float(self._reach(_sides(around)[0]).max()) / self.painted.slice_step)
        first = max(0, known[_only(around)] - reach) if around.below is None else known[around.below]
        last = min(self.depth - 1, known[_only(around)] + reach) if around.above is None else known[around.above]
        ways = {around.below: range(first + 1, last + 1), around.above: range(last - 1, first - 1, -1)}
        carried = {
            side: ComputedOnce(partial(self._carried, side, way)) for side, way in ways.items() if side is not None
        }
        return Gap(first, ComputedOnce(partial(self._geodesic, range(first, last + 1), around)), carried)

    def _carried(self, side: int, way: range) -> dict[int, Tensor]:
        moved = _walk(self._distances[side], way, self._flows.along(way))
        return {index: shape.half() for index, shape in moved}

    def _geodesic(self, where: range, around: Neighbours) -> Tensor:
        painted = self.painted
        image = smoothed(self._flows.slices(where))
        inside = torch.zeros(painted.masks.shape[1], *image.shape, dtype=torch.bool)
        outside = torch.zeros_like(inside)
        for side in _sides(around):
            place = painted.slices[side] - where.start
            inside[:, place] = painted.masks[side] >= 0.5
            outside[:, place] = ~inside[:, place]
        for index, taken in painted.others.items():
            if index in where:
                outside[:, index - where.start] |= taken
        result = geodesic_prior(image, inside, outside, painted.slice_step)
        # A segment that neither exemplar shows does not occur in between.
        return torch.where(inside.flatten(1).any(1).view(-1, 1, 1, 1), result, -1.0).half()

    def _blend(self, around: Neighbours, index: int, shapes: Sequence[Tensor]) -> Tensor:
        """Interpolate signed distances (C, H, W) from those of the exemplars on either side."""
        if len(shapes) == 1:
            (side,) = _sides(around)
            way = abs(index - self.painted.slices[side]) * self.painted.slice_step
            radius = shapes[0].amax((-2, -1), keepdim=True).clamp_min(1)
            shrunk = torch.maximum(self._fade(radius) * way, self._extrapolated_shrinkage(around, radius, way))
            return (shapes[0] - shrunk).clamp(-REACH, REACH)
        below, above = shapes
        first, last = _sides(around)
        gap = (self.painted.slices[last] - self.painted.slices[first]) * self.painted.slice_step
        blended = below * (1 - around.share) + above * around.share
        ends, begins = _is_empty(above) & ~_is_empty(below), _is_empty(below) & ~_is_empty(above)
        blended = torch.where(ends, self._ending(below, around.share, gap, last), blended)
        blended = torch.where(begins, self._ending(above, 1 - around.share, gap, first), blended)
        return blended.clamp(-REACH, REACH)

    def _fade(self, radius: Tensor) -> Tensor:
        """Pixels (C, 1, 1) by which shapes of a radius shrink per pixel of distance beyond the outermost exemplar."""
        return FADE + (self._alone - FADE) * _closeness(self._spreads, radius)

    def _reach(self, side: int) -> Tensor:
        """Distance (C,) in pixels up to which segments are searched for beyond an outermost exemplar."""
        radius = self._radii[side].view(-1, 1, 1)
        return (FARTHEST * radius / self._fade(radius.clamp_min(1))).clamp_min(LEAST_WAY).flatten()

    def _extrapolated_shrinkage(self, around: Neighbours, radius: Tensor, way: float) -> Tensor:
        """Pixels (C, 1, 1) by which shapes of a radius shrink within a distance `way` beyond the outermost exemplar,
        extrapolated from the painted slices next to it; 0 where these predict no end."""
        inwards = 1 if around.below is None else -1
        order = range(_only(around), len(self.painted.slices) if inwards > 0 else -1, inwards)
        places = [abs(self.painted.slices[n] - self.painted.slices[order[0]]) * self.painted.slice_step for n in order]
        areas = self.painted.masks[list(order)].float().sum((-2, -1)).cpu()
        shrinkage = torch.zeros_like(radius)
        if not is_enabled("ends"):
            return shrinkage
        for label, shrinks in enumerate(shrinking(of, places) for of in areas.T.tolist()):
            if shrinks is not None:
                share, end = shrinks
                shrinkage[label] = radius[label] * (1 - share(way)) + max(0.0, way - end)
        return shrinkage

    def _ending(self, shape: Tensor, share: float, gap: float, empty: int) -> Tensor:
        """Shrink a shape (C, H, W) towards exemplar `empty`, where nothing of it is left.

        It shrinks like a cone from the outermost of several painted slices, like half an ellipsoid from a single one,
        which lies in the middle; between the two where several lie closer together than the `gap`. Only a slice that
        was declared empty marks an end: one without this segment that was painted for another may be far beyond it.
        """
        round_end = _closeness(self._spreads, gap) * self._is_declared_empty[empty].view(-1, 1, 1)
        way = share + (1 - math.sqrt(1 - share**2) - share) * round_end
        return shape - way * (shape.amax((-2, -1), keepdim=True) + 1)


def shrinking(areas: Sequence[float], places: Sequence[float]) -> tuple[Callable[[float], float], float] | None:
    """Predict how a structure ends beyond the outermost of its painted slices: the share of its radius there that is
    left at a distance, and the distance to its end; None if the slices predict no end.

    areas, places: areas on the painted slices and their distances to the outermost one, from that one inwards. Three
    slices define an ellipsoid; two, or three that fit no ellipsoid, a cone.
    """
    count = next((number for number, area in enumerate(areas[:3]) if area <= 0), len(areas[:3]))
    if count < 2:
        return None
    first = areas[0]
    if count == 3:
        near, far = ((areas[n] - first) / places[n] for n in (1, 2))
        bend = (far - near) / (places[2] - places[1])
        slope = near - bend * places[1]
        if bend < 0:
            end = (math.sqrt(slope**2 - 4 * bend * first) - slope) / (-2 * bend)
            return lambda way: math.sqrt(max(0.0, first - slope * way + bend * way**2) / first), end
    slope = (math.sqrt(areas[1]) - math.sqrt(first)) / places[1]
    end = math.sqrt(first) / slope if slope > 0 else math.inf
    return (lambda way: max(0.0, 1 - way / end), end) if end < math.inf else None


def _closeness(spreads: Tensor, length: Tensor | float) -> Tensor:
    """1 for segments painted on a single slice, falling to 0 for those whose painted slices lie `length` apart."""
    return (1 - spreads / length).clamp(0, 1)


def neighbours(slices: Sequence[int], index: int) -> Neighbours:
    """Return the exemplars next to a slice; an exemplar's own slice counts as both."""
    below = max((i for i, known in enumerate(slices) if known <= index), default=None)
    above = min((i for i, known in enumerate(slices) if known >= index), default=None)
    if below is None or above is None or below == above:
        return Neighbours(below, above if below != above else None, 0.0)
    return Neighbours(below, above, (index - slices[below]) / (slices[above] - slices[below]))


def signed_distance(mask: Tensor) -> Tensor:
    """Return the distance in pixels to the border of a mask (H, W) of shares 0..1: positive inside, -REACH if empty."""
    inside = mask.cpu().numpy() >= 0.5
    if not inside.any() and float(mask.max()) > 0:
        inside = mask.cpu().numpy() >= float(mask.max())  # thinner than a pixel
    if not inside.any():
        return torch.full(mask.shape, -REACH)
    if inside.all():
        return torch.full(mask.shape, REACH)
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    # Pixel centres lie half a pixel from the border.
    return torch.from_numpy((distance - np.sign(distance) * 0.5).astype(np.float32))


ATLAS_MARGIN = 2.0
"""Pixels from a registered label's border beyond which the label counts as certain and seeds geodesic distances."""


def atlas_priors(image: Tensor, label: Tensor, slice_step: float) -> Tensor:
    """Return priors (D, len(KINDS), H, W) of a volume from a label registered to it, rather than from painted slices.

    image (D, H, W) in 0..1; label (D, H, W): the structure's share of each pixel.
    """
    distance = torch.stack([signed_distance(plane) for plane in label])
    inside, outside = (side.unsqueeze(0) for side in (distance >= ATLAS_MARGIN, distance <= -ATLAS_MARGIN))
    geodesic = torch.zeros_like(distance)
    if bool(inside.any()) and bool(outside.any()):
        geodesic = geodesic_prior(smoothed(image), inside, outside, slice_step)[0]
    return _maps(distance, distance, geodesic)


def _maps(still: Tensor, moved: Tensor, geodesic: Tensor) -> Tensor:
    """Scale signed distances in pixels, interpolated and carried along, and geodesic ones to (n, len(KINDS), H, W)."""
    maps = {"interpolation": still / SCALE, "transport": moved / SCALE, "geodesic": 3 * geodesic}
    return torch.stack([maps[kind] for kind in KINDS], dim=1)


def _sides(around: Neighbours) -> list[int]:
    return [side for side in (around.below, around.above) if side is not None]


def _only(around: Neighbours) -> int:
    (side,) = _sides(around)
    return side


def _is_empty(shape: Tensor) -> Tensor:
    return shape.amax((-2, -1), keepdim=True) <= -REACH


def _walk(shape: Tensor, way: range, flows: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Carry a shape (C, H, W) from slice to slice; displacements are added up, so that it is resampled only once."""
    total: Tensor | None = None
    for index, flow in zip(way, flows, strict=True):
        step = flow.unsqueeze(0)
        total = step if total is None else step + warp(total, step)
        yield index, warp(shape.unsqueeze(0), total)[0]


def smoothed(image: Tensor) -> Tensor:
    """Return the image (D, H, W), slightly blurred within slices."""
    return torch.from_numpy(ndimage.gaussian_filter(image.cpu().numpy(), (0, 0.7, 0.7)))


class Flows:
    """Slices of a volume, and the displacements (2, H, W) that make them match adjacent slices; computed on demand and
    cached. They do not depend on what is painted, so they are shared with `earlier` flows of the same slices."""

    def __init__(self, slices: Slices, earlier: Flows | None = None) -> None:
        self._slices = slices
        self._made: dict[int, Tensor] = {} if earlier is None else earlier._made
        self._found: dict[tuple[int, int], Tensor] = {} if earlier is None else earlier._found

    def slices(self, indices: Sequence[int]) -> Tensor:
        """Return slices (n, H, W) in 0..1, each made once."""
        for index in indices:
            if index not in self._made:
                self._made[index] = self._slices([index])
        return torch.cat([self._made[index] for index in indices])

    def along(self, way: range) -> list[Tensor]:
        """Return each slice's displacements to the slice before it in `way`."""
        missing = [index for index in way if (index, way.step) not in self._found]
        for start in range(0, len(missing), FLOWS_AT_ONCE):
            part = missing[start : start + FLOWS_AT_ONCE]
            shown = sorted({*part, *(index - way.step for index in part)})
            to = torch.tensor([shown.index(index) for index in part])
            since = torch.tensor([shown.index(index - way.step) for index in part])
            found = slice_flow(smoothed(self.slices(shown)), to, since)
            self._found |= {(index, way.step): flow for index, flow in zip(part, found.half(), strict=True)}
        return [self._found[index, way.step].float() for index in way]
