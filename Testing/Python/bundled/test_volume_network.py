"""The networks trained on one volume: what they learn, how they join the decoder, and when they are not used."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from FewShotSAMLib.bundled.volume_network import (
    LEAST_WEIGHT,
    MOST_WEIGHT,
    SCHEDULE,
    Comparison,
    TrainingSet,
    VolumeNetworks,
    _TwiceAsFine,
    _views,
    blended_logits,
    extents,
    learn_volume,
)
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.interface import Exemplar

SIDE = 64


def disc(row: float, column: float, radius: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((y - row) ** 2 + (x - column) ** 2 < radius**2).float()


def scene(number: int) -> tuple[Tensor, Tensor]:
    """A slice with a bright and a darker disc on another grey, and its classes' shares (3, S/2, S/2)."""
    bright, dark = disc(20 + number, 22, 9), disc(44, 40 - number, 7)
    noise = 0.05 * torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(number))
    shares = torch.nn.functional.avg_pool2d(torch.stack([bright, dark])[None], 2)[0]
    return 0.4 + 0.4 * bright - 0.3 * dark + noise, torch.cat([1 - shares.sum(0, keepdim=True), shares])


def exemplar(number: int, unknown: tuple[int, ...] = ()) -> Exemplar:
    target = scene(number)[1]
    if unknown:
        target = target.clone()
        target[0] += target[list(unknown)].sum(0)
        target[list(unknown)] = 0
    return Exemplar(number, 0, torch.empty(0), target.half(), torch.ones(target.shape[1:]), torch.empty(0), unknown)


def training_set(*exemplars: Exemplar, steps: int = 60) -> TrainingSet:
    def slices(indices: Any) -> Tensor:
        return torch.stack([scene(index)[0] for index in indices])

    return TrainingSet(exemplars, replace(SCHEDULE, steps=steps), slices)


def task(enough_at: int | None = None) -> Any:
    told: list[int] = []
    return SimpleNamespace(
        seed=0,
        device=torch.device("cpu"),
        told=told,
        progress=lambda stage, done, total: told.append(done),
        is_enough=lambda: enough_at is not None and told[-1] >= enough_at,
        seeded=nullcontext,
    )


def fresh(count: int = 2) -> VolumeNetworks:
    """New networks for two classes."""
    torch.manual_seed(0)
    return VolumeNetworks(2, count)


def overlap(found: Tensor, truth: Tensor) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_it_finds_what_was_painted_on_a_slice_it_has_not_seen() -> None:
    network = fresh()
    loss = learn_volume(network, training_set(exemplar(0), exemplar(8)), task())
    assert loss is not None and loss < 1.0
    image, shares = scene(4)
    found = network.probabilities(image[None])[0]
    torch.testing.assert_close(found.sum(0), torch.ones_like(found[0]))
    for label in (1, 2):
        assert overlap(found.argmax(0) == label, shares[label] > 0.5) > 0.8, label


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = fresh(), fresh()
    for network in (first, second):
        learn_volume(network, training_set(exemplar(0), exemplar(8), steps=5), task())
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name]), name


def test_a_slice_painted_for_one_segment_says_nothing_against_the_other() -> None:
    network = fresh()
    learn_volume(network, training_set(exemplar(0, unknown=(2,)), exemplar(8, unknown=(1,))), task())
    image, shares = scene(4)
    found = network.probabilities(image[None])[0].argmax(0)
    assert overlap(found == 1, shares[1] > 0.5) > 0.7 and overlap(found == 2, shares[2] > 0.5) > 0.7


@pytest.mark.parametrize(("goes_on", "coarse"), [(False, 4), (True, 0)])
def test_what_was_never_learned_is_seen_coarsely_first(goes_on: bool, coarse: int) -> None:
    asked = replace(training_set(exemplar(0), exemplar(8), steps=8), goes_on=goes_on)
    drawn = [next(views) for views in [_views(asked, torch.device("cpu"), torch.Generator())] * 8]
    sides = [SIDE // 2] * coarse + [SIDE] * (8 - coarse)
    assert [images.shape[-1] for images, *_ in drawn] == sides
    shapes = [(targets.shape[-1], weights.shape[-1]) for _, targets, weights, _ in drawn]
    assert shapes == [(side // 2, side // 2) for side in sides]
    torch.testing.assert_close(drawn[0][1].sum(1), torch.ones(4, sides[0] // 2, sides[0] // 2))


def test_it_stops_when_the_user_takes_the_first_answer() -> None:
    asked = task(enough_at=3)
    assert learn_volume(fresh(), training_set(exemplar(0), exemplar(8)), asked) is None
    assert asked.told[-1] == 3


def test_without_steps_there_is_nothing_to_use() -> None:
    assert learn_volume(fresh(), training_set(exemplar(0), steps=0), task()) is None


def test_a_loss_that_is_no_number_is_no_lesson() -> None:
    bad = exemplar(0)
    broken = replace(bad, target=bad.target * float("nan"))
    with pytest.raises(BadInputError, match="loss of the training is not finite"):
        learn_volume(fresh(), training_set(broken, exemplar(8), steps=8), task())


def test_both_count_by_their_weight_but_where_the_decoder_is_sure() -> None:
    sure, torn, other = (torch.tensor(pair).view(1, 2, 1, 1) for pair in ([0.9999, 0.0001], [0.5, 0.5], [0.0, 1.0]))

    def found(first: Tensor, second: Tensor, weight: float, beyond: bool = False) -> float:
        given = torch.ones(1), torch.tensor([weight]), torch.tensor([beyond])
        return float(blended_logits(first, second, *given).softmax(1)[0, 1])

    assert 0.04 < found(sure, other, 0.5) < 0.06 and 0.015 < found(sure, other, 0.5, beyond=True) < 0.02
    assert found(torn, other, 0.5) == pytest.approx(0.75) and found(torn, other, 0.3) == pytest.approx(0.65)
    many, second = torch.rand(2, 5, 3, 3).softmax(1), torch.rand(2, 5, 3, 3).softmax(1)
    given = torch.rand(4), torch.rand(4), torch.tensor([False, True])
    assert bool(torch.isfinite(blended_logits(many, second, *given)).all())


def test_each_segment_brings_its_own_weight() -> None:
    first, second = torch.tensor([0.2, 0.8, 0.0]).view(1, 3, 1, 1), torch.tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1)
    found = (
        blended_logits(first, second, torch.ones(2), torch.tensor([0.4, 0.9]), torch.tensor([False]))
        .softmax(1)
        .flatten()
    )
    assert found.tolist() == pytest.approx([0.32, 0.68, 0.0], abs=1e-4)


@pytest.mark.parametrize(("likeness", "threshold"), [(1.0, 0.5), (0.76, 0.38), (0.2, 0.3)])
def test_less_likeness_means_a_lower_threshold(likeness: float, threshold: float) -> None:
    """Dice is best with half of the attainable Dice as the threshold."""
    torn, other = (torch.tensor(pair).view(1, 2, 1, 1) for pair in ([0.5, 0.5], [0.8, 0.2]))
    logits = blended_logits(torn, other, torch.tensor([likeness]), torch.tensor([0.5]), torch.tensor([False]))
    odds = 0.35 / 0.65 * (1 - threshold) / threshold
    assert float((logits[0, 1] - logits[0, 0]).exp()) == pytest.approx(odds, rel=1e-3)


def test_half_the_dice_is_the_best_threshold_of_probabilities_that_are_right() -> None:
    chance = torch.rand(200_000, generator=torch.Generator().manual_seed(0)) ** 2
    truth = torch.rand(len(chance), generator=torch.Generator().manual_seed(1)) < chance
    reached = {cut: overlap(chance > cut, truth) for cut in torch.arange(0.05, 0.95, 0.05).tolist()}
    best = max(reached, key=lambda cut: reached[cut])
    assert best == pytest.approx(reached[best] / 2, abs=0.03) and reached[best] > reached[0.5] + 0.01


def test_likeness_is_the_dice_of_what_both_find() -> None:
    first, second = torch.zeros(1, 3, 10, 10), torch.zeros(1, 3, 10, 10)
    first[:, 1, :5], first[:, 2, 5:] = 1, 1
    second[:, 1, :5], second[:, 2, 5:, :4] = 1, 1
    comparison = Comparison(2)
    comparison.add(first, second, torch.tensor([[True, True]]))
    comparison.add(torch.zeros_like(second), second, torch.tensor([[False, False]]))
    assert comparison.likeness().tolist() == [1.0, pytest.approx(2 * 20 / 70)]


def test_networks_that_differ_from_a_sure_decoder_count_less() -> None:
    """Two that err independently differ by the errors of both, so the rest of the difference is the networks' error."""

    def weight(unsure: float, moved: int) -> float:
        first, second = torch.zeros(1, 2, 40, 40), torch.zeros(1, 2, 40, 40)
        first[:, 1, 10:30, 10:30], second[:, 1, 10 + moved : 30 + moved, 10:30] = 1 - unsure, 1
        comparison = Comparison(1)
        comparison.add(first, second, torch.tensor([[True]]))
        return float(comparison.weights())

    assert weight(0.05, 2) == pytest.approx(0.0256 / 0.1012 + 0.1012, rel=5e-3)
    assert weight(0.02, 2) == pytest.approx(LEAST_WEIGHT) and weight(0.1, 2) == pytest.approx(MOST_WEIGHT)
    assert weight(0.02, 12) == pytest.approx(MOST_WEIGHT)  # it is unclear which of the two is wrong
    nothing = Comparison(1)
    nothing.add(torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4), torch.tensor([[False]]))
    assert float(nothing.likeness()) == 1 and float(nothing.weights()) == pytest.approx(LEAST_WEIGHT)


def test_networks_are_judged_where_the_structure_is() -> None:
    """What they find far beyond the ends, where they had no training data, says little about what they find within."""

    def exemplar(index: int, label: int) -> Exemplar:
        target = torch.zeros(3, 4, 4)
        target[label] = 1
        return Exemplar(index, 0, torch.empty(0), target, torch.ones(4, 4), torch.empty(0))

    nothing, second = torch.full((3, 4, 4), -9.0), torch.full((3, 4, 4), -9.0)
    nothing[0], second[2] = 9.0, 9.0
    answered = {3: nothing, 6: second, 7: nothing, 8: second, 9: nothing}
    assert extents([exemplar(4, 1), exemplar(5, 1), exemplar(2, 0)], answered) == [range(4, 6), range(6, 9)]
    assert extents([exemplar(4, 0)], {3: nothing}) == [range(0), range(0)]


def test_interpolation_is_that_of_torch() -> None:
    values = torch.rand(2, 8, 5, 7, requires_grad=True)
    own = _TwiceAsFine.apply(values)
    theirs = torch.nn.functional.interpolate(values, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(own, theirs)
    along = torch.rand(own.shape)
    torch.testing.assert_close(*(torch.autograd.grad(each, values, along)[0] for each in (own, theirs)))


def test_side_by_side_or_one_after_the_other_they_learn_the_same() -> None:
    """Threads of one core each give the same result as a single core."""
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            networks = fresh(3)
            learn_volume(networks, training_set(exemplar(0), exemplar(8), steps=5), task())
            found.append(networks.state_dict())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for name, weights in found[0].items():
        assert torch.equal(weights, found[1][name]), name
