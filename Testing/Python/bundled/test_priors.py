"""Shape priors: interpolation, shapes carried along with the anatomy, and geodesic distances."""

import gc
import math
import weakref

import pytest
import torch
from torch import Tensor

from FewShotSAMLib.bundled.flow import slice_flow, warp
from FewShotSAMLib.bundled.fusion import KINDS
from FewShotSAMLib.bundled.geodesic import geodesic_prior
from FewShotSAMLib.bundled.priors import REACH, Flows, Painted, Priors, neighbours, shrinking, signed_distance

SIDE = 48


def disc(row: float, column: float, radius: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    return ((y - row) ** 2 + (x - column) ** 2).sqrt() < radius


def overlap(a: Tensor, b: Tensor) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def drifting(depth: int, step: float) -> tuple[Tensor, Tensor]:
    """A textured disc that moves by `step` pixels from slice to slice: image and masks (depth, SIDE, SIDE)."""
    masks = torch.stack([disc(24, 10 + step * index, 6) for index in range(depth)])
    return 0.2 + 0.6 * masks.float(), masks


def painted(masks: Tensor, slices: tuple[int, ...], slice_step: float = 2.0) -> Painted:
    return Painted(slices, masks[list(slices)].float().unsqueeze(1), slice_step)


def of_kind(maps: Tensor, kind: str) -> Tensor:
    return maps[0, KINDS.index(kind)] > 0


def priors_of(image: Tensor, given: Painted, *more: Tensor) -> Priors:
    return Priors(Flows(image.__getitem__), len(image), given, *more)


def test_priors_that_were_explored_hold_nothing_in_a_circle() -> None:
    image, masks = drifting(5, 1.0)
    made = priors_of(image, painted(masks, (0, 4)))
    made.maps(2)
    held = weakref.ref(made)
    gc.disable()  # so that only reference counting can free it
    try:
        del made
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("index", "expected"), [(0, (None, 0, 0.0)), (2, (0, None, 0.0)), (4, (0, 1, 0.5)), (7, (1, None, 0.0))]
)
def test_neighbours_of_a_slice(index: int, expected: tuple[int | None, int | None, float]) -> None:
    found = neighbours((2, 6), index)
    assert (found.below, found.above, found.share) == expected


def test_signed_distance_is_in_pixels_and_positive_inside() -> None:
    distance = signed_distance(disc(24, 24, 10).float())
    assert float(distance[24, 24]) == pytest.approx(9.5, abs=1)
    assert float(distance[24, 4]) == pytest.approx(-9.5, abs=1)
    assert (signed_distance(torch.zeros(8, 8)) == -REACH).all()


def test_a_structure_thinner_than_a_pixel_has_an_inside() -> None:
    share = torch.zeros(8, 8)
    share[3, 4] = 0.2
    assert float(signed_distance(share)[3, 4]) > 0


def test_interpolation_keeps_what_does_not_change() -> None:
    masks = disc(24, 24, 8).expand(7, -1, -1)
    priors = priors_of(torch.rand(7, SIDE, SIDE), painted(masks, (1, 5)))
    assert torch.equal(of_kind(priors.maps(3), "interpolation"), masks[3])


def test_a_shape_shrinks_towards_an_empty_slice() -> None:
    masks = torch.stack([disc(24, 24, 10)] * 4 + [torch.zeros(SIDE, SIDE, dtype=torch.bool)])
    priors = priors_of(torch.full((5, SIDE, SIDE), 0.5), painted(masks, (0, 4)))
    sizes = [int(of_kind(priors.maps(index), "interpolation").sum()) for index in range(5)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == int(masks[0].sum()) and sizes[4] == 0


def test_flow_finds_a_shift() -> None:
    torch.manual_seed(0)
    texture = torch.nn.functional.interpolate(torch.rand(1, 1, 12, 12), size=(SIDE, SIDE), mode="bicubic")
    shift = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, SIDE, SIDE)
    image = torch.cat([texture, warp(texture, shift)])[:, 0]
    flow = slice_flow(image, torch.tensor([1]), torch.tensor([0]))[0, :, 10:-10, 10:-10]
    assert flow.flatten(1).median(1).values.tolist() == pytest.approx([3.0, -2.0], abs=0.3)


def test_transport_follows_what_moves_further_than_it_is_wide() -> None:
    image, masks = drifting(15, 2.0)
    priors = priors_of(image, painted(masks, (0, 14)))
    middle = priors.maps(7)
    assert overlap(of_kind(middle, "transport"), masks[7]) > 0.8
    assert overlap(of_kind(middle, "interpolation"), masks[7]) < 0.2


def test_geodesic_stops_at_borders() -> None:
    image = torch.full((5, SIDE, SIDE), 0.2)
    masks = torch.stack([disc(24, 24, 6 + 2 * index) for index in range(5)])
    image[masks] = 0.7
    inside = torch.zeros(1, 5, SIDE, SIDE, dtype=torch.bool)
    outside = inside.clone()
    for known in (0, 4):
        inside[0, known], outside[0, known] = masks[known], ~masks[known]
    prior = geodesic_prior(image, inside, outside, 2.0)
    assert prior.abs().max() <= 1
    assert overlap(prior[0, 2] > 0, masks[2]) > 0.98


def test_geodesic_distance_is_that_of_the_shortest_way() -> None:
    # A wall with one gap: the way around costs only its length.
    image = torch.zeros(1, 9, 9)
    image[0, :8, 4] = 1.0
    inside, outside = (torch.zeros(1, 1, 9, 9, dtype=torch.bool) for _ in range(2))
    inside[0, 0, 0, 0] = True
    outside[0, 0, 0, 5] = True
    prior = geodesic_prior(image, inside, outside, 1.0)
    assert prior[0, 0, 0, 3] > 0 and prior[0, 0, 8, 8] < 0


def test_a_segment_that_nothing_shows_is_nowhere() -> None:
    masks = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    maps = priors_of(torch.rand(3, SIDE, SIDE), painted(masks, (1,))).maps(0)
    assert not (maps > 0).any()


def test_beyond_a_single_painted_slice_a_shape_fades_more_slowly() -> None:
    """A single slice lies in the middle of a structure, the outermost of several near its end."""
    masks = disc(24, 24, 12).expand(9, -1, -1)
    image = torch.full((9, SIDE, SIDE), 0.5)

    def area(priors: Priors) -> int:
        return int(of_kind(priors.maps(8), "interpolation").sum())

    alone, several = priors_of(image, painted(masks, (4,))), priors_of(image, painted(masks, (0, 4)))
    assert area(several) < area(alone) < int(masks[0].sum())
    far = priors_of(image, painted(masks, (4,)), torch.tensor([12.0]))  # as if a slice a radius away showed it, too
    assert 0 < area(far) < 0.75 * area(alone) and area(far) < area(several)
    close = priors_of(image, painted(masks, (3, 4)))  # a correction next to the first slice changes little far away
    assert 0.85 * area(alone) < area(close) < area(alone)
    empty_beside = masks.clone()
    empty_beside[2] = False
    told = priors_of(image, painted(empty_beside, (2, 4)))  # this end would have been declared as well
    assert area(alone) < area(told) <= int(masks[0].sum())
    other = Painted((2, 4), empty_beside[[2, 4]].float().unsqueeze(1), 2.0, torch.zeros(2, 1, dtype=torch.bool))
    assert area(priors_of(image, other)) == area(alone)


def test_beyond_a_single_painted_slice_a_structure_is_looked_for_as_far_as_its_shape_goes() -> None:
    masks = disc(24, 24, 6).expand(60, -1, -1)
    priors = priors_of(torch.full((60, SIDE, SIDE), 0.5), painted(masks, (5,)))
    held = [index for index in range(60) if of_kind(priors.maps(index), "interpolation").any()]
    assert held[-1] > 25 and priors.may_contain(1, held[-1])


@pytest.mark.parametrize("centre", [20.0, 23.0])
def test_three_painted_slices_tell_where_an_ellipsoid_ends(centre: float) -> None:
    """Nothing is declared empty; without this, a shape faded so slowly that a ball grew stalks."""
    half, step = 12.0, 1.5
    way = [abs(index - centre) for index in range(44)]
    masks = torch.stack([disc(24, 24, 18 * math.sqrt(max(0.0, 1 - (w / half) ** 2))) for w in way])
    ends = [index for index, w in enumerate(way) if w < half]
    for inset in (1, 3, 5):
        known = (ends[0] + inset, round(centre), ends[-1] - inset)
        priors = priors_of(torch.full((44, SIDE, SIDE), 0.5), painted(masks, known, step))
        found = [index for index in range(44) if of_kind(priors.maps(index), "interpolation").any()]
        assert abs(found[0] - ends[0]) <= 1 and abs(found[-1] - ends[-1]) <= 1
        beside = ends[-1] - inset + 1
        assert overlap(of_kind(priors.maps(beside), "interpolation"), masks[beside]) > 0.93


def test_a_cone_ends_and_a_tube_does_not() -> None:
    share, end = shrinking([16.0, 36.0], [0.0, 4.0]) or pytest.fail("two slices are enough")
    assert end == pytest.approx(8) and [share(way) for way in (0, 4, 8, 9)] == [1, 0.5, 0, 0]
    share, end = shrinking([16.0, 36.0, 64.0], [0.0, 4.0, 8.0]) or pytest.fail("it is a cone's")
    assert end == pytest.approx(8)
    assert shrinking([36.0, 36.0, 36.0], [0.0, 4.0, 8.0]) is None
    assert shrinking([36.0, 16.0], [0.0, 4.0]) is None  # it grows outwards
    assert shrinking([36.0], [0.0]) is shrinking([36.0, 0.0, 50.0], [0.0, 4.0, 8.0]) is None


def test_a_slice_painted_for_another_segment_marks_no_end() -> None:
    """It may lie far beyond this segment's end; a slice that was declared empty usually lies right behind it."""
    image = torch.full((9, SIDE, SIDE), 0.5)
    masks = torch.zeros(3, 2, SIDE, SIDE)
    masks[1, 0], masks[0, 1] = disc(24, 24, 12), disc(8, 8, 5)
    priors = priors_of(image, Painted((0, 4, 8), masks, 2.0))
    for way in (1, 2, 3):
        towards_other, towards_empty = ((priors.maps(index)[0, 0] > 0).sum() for index in (4 - way, 4 + way))
        assert (float(towards_other) / torch.pi) ** 0.5 == pytest.approx(12 * (1 - way / 4), abs=0.7)
        assert (float(towards_empty) / torch.pi) ** 0.5 == pytest.approx(12 * (1 - (way / 4) ** 2) ** 0.5, abs=0.7)


def test_two_slices_close_together_end_almost_like_one() -> None:
    """As the second moves away from the first, the end changes smoothly from an ellipsoid's to a cone's."""
    masks = disc(24, 24, 12).expand(17, -1, -1).clone()
    masks[16] = False
    image = torch.full((17, SIDE, SIDE), 0.5)
    areas = [
        int(of_kind(priors_of(image, painted(masks, known)).maps(12), "interpolation").sum())
        for known in ((8, 16), (7, 8, 16), (6, 8, 16), (4, 8, 16), (0, 8, 16))
    ]
    assert areas == sorted(areas, reverse=True) and areas[1] > 0.9 * areas[0] and areas[-1] < 0.5 * areas[0]


@pytest.mark.parametrize("empty", [0, 8])
def test_before_an_empty_slice_a_single_painted_one_is_the_middle_of_an_ellipsoid(empty: int) -> None:
    """With several, the outermost is near the end, before which the shape shrinks linearly."""
    masks = disc(24, 24, 12).expand(9, -1, -1).clone()
    masks[empty] = False
    image = torch.full((9, SIDE, SIDE), 0.5)

    def radius(known: tuple[int, ...], index: int) -> float:
        inside = of_kind(priors_of(image, painted(masks, known)).maps(index), "interpolation")
        return (float(inside.sum()) / torch.pi) ** 0.5

    alone, several = tuple(sorted((4, empty))), tuple(sorted((4, 8 - empty, empty)))
    for way in (1, 2, 3):
        index = 4 + way if empty else 4 - way
        assert radius(alone, index) == pytest.approx(12 * (1 - (way / 4) ** 2) ** 0.5, abs=0.7)
        assert radius(several, index) == pytest.approx(12 * (1 - way / 4), abs=0.7)


def test_between_two_empty_slices_there_is_nothing() -> None:
    masks = torch.zeros(9, SIDE, SIDE, dtype=torch.bool)
    masks[8] = disc(24, 24, 12)
    maps = priors_of(torch.rand(9, SIDE, SIDE), painted(masks, (0, 4, 8))).maps(2)
    assert (maps[0, KINDS.index("interpolation")] <= -4 + 1e-6).all()


def test_one_slice_is_enough_of_a_volume() -> None:
    masks = disc(24, 24, 8).unsqueeze(0)
    maps = priors_of(torch.rand(1, SIDE, SIDE), painted(masks, (0,))).maps(0)
    assert torch.equal(of_kind(maps, "interpolation"), masks[0]) and torch.equal(of_kind(maps, "transport"), masks[0])
