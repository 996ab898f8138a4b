"""Synthesised pairs: image and labels move together, and unlabelled parts of host slices teach nothing wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.methods import synthesis
from FewShotSAMLib.methods.synthesis import LabelledSlice, Synthesis

ROWS, COLUMNS = 60, 80


def exemplar() -> LabelledSlice:
    classes = np.zeros((ROWS, COLUMNS), np.uint8)
    classes[20:32, 30:50], classes[24:28, 36:44], classes[40:46, 20:26] = 1, 2, 3
    grey = torch.full((ROWS, COLUMNS), 0.2)
    for label, value in ((1, 0.5), (2, 0.7), (3, 0.9)):
        grey[torch.from_numpy(classes == label)] = value
    return LabelledSlice(grey, classes)


def host(value: int = 0) -> LabelledSlice:
    return LabelledSlice(torch.full((ROWS, COLUMNS), 0.3), np.full((ROWS, COLUMNS), value, np.uint8))


def pair(seed: int, onto: LabelledSlice) -> LabelledSlice:
    return Synthesis(ROWS / COLUMNS, torch.Generator().manual_seed(seed)).pair(exemplar(), onto)


@pytest.fixture
def plain_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the colours of regions and composites."""
    for name in ("REGION_LOG_GAIN", "REGION_BIAS", "IMAGE_LOG_GAMMA", "IMAGE_LOG_CONTRAST", "IMAGE_BRIGHTNESS"):
        monkeypatch.setattr(synthesis, name, 0.0)
    monkeypatch.setattr(synthesis, "BLURRED_SHARE", 0.0)


@pytest.mark.usefixtures("plain_colours")
def test_labels_lie_where_their_region_was_pasted() -> None:
    for seed in range(12):
        made = pair(seed, host())
        for label, value in ((1, 0.5), (2, 0.7), (3, 0.9)):
            inside = made.grey[torch.from_numpy(made.classes == label)]
            assert inside.numel() == 0 or float(inside.median()) == pytest.approx(value, abs=0.03)
        torch.testing.assert_close(made.grey[torch.from_numpy(made.classes == 0)].unique(), torch.tensor([0.3]))


def test_the_same_generator_gives_the_same_pair_and_pairs_differ() -> None:
    first, again, other = pair(1, host()), pair(1, host()), pair(2, host())
    assert torch.equal(first.grey, again.grey) and np.array_equal(first.classes, again.classes)
    assert not np.array_equal(first.classes, other.classes)
    assert float(first.grey.min()) >= 0 and float(first.grey.max()) <= 1


def test_pairs_vary_in_place_size_and_number_of_segments() -> None:
    made = [pair(seed, host()).classes for seed in range(60)]
    areas = np.array([np.count_nonzero(classes == 1) for classes in made if (classes == 1).any()])
    assert areas.min() < 0.6 * 208 and areas.max() > 1.5 * 208
    numbers = {len(np.unique(classes)) - 1 for classes in made}
    assert numbers >= {1, 3}
    assert np.mean([classes > 0 for classes in made], axis=0).min() < 0.1 < np.mean(np.any(made, axis=0))


@pytest.mark.usefixtures("plain_colours")
def test_layout_and_size_are_kept_and_mirrored_at_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_ROTATION", "OWN_ROTATION", "OWN_LOG_SCALE", "OWN_SHIFT"):
        monkeypatch.setattr(synthesis, name, 0.0)
    monkeypatch.setattr(synthesis, "SCALES", (1.0, 1.0))
    monkeypatch.setattr(synthesis, "TOGETHER_SHARE", 1.0)
    sides = set()
    for seed in range(40):
        classes = pair(seed, host()).classes
        if all(np.count_nonzero(classes == label) == count for label, count in ((1, 208), (2, 32), (3, 36))):
            sides.add(np.argwhere(classes == 3)[:, 1].mean() < np.argwhere(classes == 1)[:, 1].mean())
    assert sides == {True, False}


def test_a_region_turned_on_its_side_keeps_its_shape_in_millimetres() -> None:
    maker = Synthesis(60 / (2 * 80), torch.Generator())  # pixels twice as wide as high
    grid = maker._grid(np.pi / 2, 1.0, 1.0, (0.0, 0.0), (0.0, 0.0), (60, 80))
    mask = torch.zeros(1, 1, 60, 80)
    mask[..., 20:40, 30:50] = 1  # 20 high, 40 wide in units of a pixel's height
    turned = torch.nn.functional.grid_sample(mask, grid, "nearest", "zeros", align_corners=False)[0, 0]
    assert (int(turned.amax(dim=1).sum()), int(turned.amax(dim=0).sum())) == (40, 10)


def test_a_known_host_keeps_its_labels_and_an_unknown_one_teaches_a_rim_only() -> None:
    known = host()
    known.classes[2:8, 2:8] = 3
    made = pair(5, known)
    corner = made.classes[2:8, 2:8]
    assert np.isin(corner, (1, 2, 3)).all() and not (made.classes == IGNORE).any()
    unknown = pair(5, host(IGNORE)).classes
    pasted = np.isin(unknown, (1, 2, 3))
    rim = unknown == 0
    assert rim.any() and rim.sum() < pasted.sum() * 2 + 200
    assert (unknown == IGNORE).sum() == unknown.size - pasted.sum() - rim.sum() > 0
    likely = rim & (np.indices(rim.shape).sum(axis=0) % 2 == 0)
    careful = pair(5, replace(host(IGNORE), likely=likely)).classes
    assert (careful[likely] == IGNORE).all() and np.array_equal(careful == 0, rim & ~likely)


def test_colour_slices_are_possible() -> None:
    source, onto = exemplar(), host()
    source = LabelledSlice(source.grey[..., None].repeat(1, 1, 3), source.classes)
    onto = LabelledSlice(onto.grey[..., None].repeat(1, 1, 3), onto.classes)
    made = Synthesis(1.0, torch.Generator().manual_seed(0)).pair(source, onto)
    assert made.grey.shape == (ROWS, COLUMNS, 3)
