"""The baselines segment a small phantom, keep what was painted, and use the device and encoder they claim to use."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from engine.conftest import SMALL

from FewShotSAMLib.benchmark.baselines.interface import class_count_of
from FewShotSAMLib.benchmark.baselines.shape_interpolation import interpolate_shapes
from FewShotSAMLib.benchmark.baselines.unet import UNetFromScratch, UNetSettings
from FewShotSAMLib.benchmark.baselines.zero_shot import Prompt, ZeroShotSam, inner_points
from FewShotSAMLib.core.annotation import IGNORE
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.plane import SlicePlane
from FewShotSAMLib.sam.encoder import Encoder
from FewShotSAMLib.sam.framing import whole_slice
from FewShotSAMLib.sam.registry import build_sam

SIDE = 40
ONE_POINT, FIVE_POINTS, BOX = Prompt(1), Prompt(5), Prompt(0, box=True)


class EncodedVolume:
    """Embeddings straight from the encoder, one slice at a time."""

    def __init__(self, encoder: Encoder, grey: np.ndarray, axis: int) -> None:
        shape = tuple(side for other, side in enumerate(grey.shape) if other != axis)
        plane = SlicePlane(axis, "as stored", False, False, False, shape, (1.0, 1.0))
        self.framing = whole_slice(plane, encoder.image_size)
        self._encoder, self._slices = encoder, np.moveaxis(grey, axis, 0)

    def slices(self, indices: Sequence[int]) -> torch.Tensor:
        """Embeddings (n, 256, h, w), float32."""
        grey = [torch.from_numpy(np.ascontiguousarray(self._slices[index], dtype=np.float32)) for index in indices]
        return torch.cat([self._encoder.encode(self.framing.image(one)[None]) for one in grey])


@pytest.fixture
def encoder(network: Any) -> Encoder:
    torch.manual_seed(7)
    sam = build_sam(SMALL)
    sam.image_encoder = network
    return Encoder(SMALL, sam, "random", torch.device("cpu"), "fp32")


def ball(axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball (class 1) next to a grey one (class 2) in a dim volume of 13 slices: (grey, classes)."""
    k, j, i = np.ogrid[:13, :SIDE, :SIDE]
    classes = np.zeros((13, SIDE, SIDE), np.uint8)
    classes[((k - 6) * 2) ** 2 + (j - 14) ** 2 + (i - 12) ** 2 < 100] = 1
    classes[((k - 6) * 2) ** 2 + (j - 24) ** 2 + (i - 29) ** 2 < 64] = 2
    noise = np.random.default_rng(0).normal(0, 0.03, classes.shape)
    grey = np.clip(np.choose(classes, (0.15, 0.9, 0.5)) + noise, 0, 1).astype(np.float32)
    return np.moveaxis(grey, 0, axis), np.moveaxis(classes, 0, axis)


def paint(classes: np.ndarray, axis: int, indices: tuple[int, ...] = (1, 4, 8, 11)) -> dict[int, np.ndarray]:
    return {index: np.moveaxis(classes, axis, 0)[index].copy() for index in indices}


def scores(found: np.ndarray, truth: np.ndarray) -> list[float]:
    return [dice(found == label, truth == label) for label in (1, 2)]


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("prompt", [ONE_POINT, BOX])
def test_painted_slices_stay_and_every_axis_works(encoder: Encoder, prompt: Prompt, axis: int) -> None:
    grey, truth = ball(axis)
    painted = paint(truth, axis)
    painted[4][0, :] = IGNORE
    decoder, prompts = encoder.sam_parts()
    found = ZeroShotSam(EncodedVolume(encoder, grey, axis), decoder, prompts, prompt)(grey, painted, axis)
    assert found.shape == grey.shape and found.dtype == np.uint8
    for index, known in painted.items():
        np.testing.assert_array_equal(np.moveaxis(found, axis, 0)[index], np.where(known == IGNORE, 0, known))


def test_a_unet_from_scratch_learns_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    grey, truth = ball()
    settings = UNetSettings(channels=8, size=48, steps=40, batch=2, learning_rate=5e-3)
    found = UNetFromScratch(settings)(grey, paint(truth, 0), 0)
    assert min(scores(found[[5, 6, 7]], truth[[5, 6, 7]])) > 0.6
    few = UNetSettings(channels=4, size=32, steps=2)
    first, again = (UNetFromScratch(few)(grey, paint(truth, 0), 0) for _ in range(2))
    np.testing.assert_array_equal(first, again)

    devices: list[str] = []

    @contextmanager
    def spy(device: torch.device) -> Iterator[None]:
        devices.append(device.type)
        yield
        devices.append("trained")

    monkeypatch.setattr("FewShotSAMLib.benchmark.baselines.unet.repeatable", spy)
    UNetFromScratch(few)(grey, paint(truth, 0), 0)
    assert devices == ["cpu", "trained"], "on a GPU the sums have an order only within"


def test_sam_is_asked_at_the_right_places(encoder: Encoder) -> None:
    """Prompts are in the encoder's pixels, with y and x in the right order, for a volume whose sides differ."""
    grey, truth = ball()
    painted = paint(truth[:, :, :30], 0, (4, 8))
    decoder, prompts = encoder.sam_parts()
    asked: list[tuple[Any, Any]] = []
    prompts.register_forward_pre_hook(lambda _, arguments: asked.append(arguments[:2]))
    for prompt in (ONE_POINT, FIVE_POINTS, BOX, Prompt(1, box=True)):
        asked.clear()
        shown = grey[:, :, :30]
        ZeroShotSam(EncodedVolume(encoder, shown, 0), decoder, prompts, prompt)(shown, painted, 0)
        points, box = asked[2 * 2]  # slices 5 and 6 with two segments each, then the first segment of slice 7
        assert (points is not None) == (prompt.points > 0) and (box is not None) == prompt.box
        scale = 128 / SIDE
        if points is not None:
            coordinates, labels = points
            assert coordinates.shape == (1, prompt.points, 2) and bool((labels == 1).all())
            x, y = (coordinates[0, 0] + 0.5) / scale - 0.5
            assert truth[7, round(float(y)), round(float(x))] == 1
        if box is not None:
            expected = np.array([12 - 9, 14 - 9, 12 + 9, 14 + 9])
            np.testing.assert_allclose((box[0] + 0.5) / scale - 0.5, expected, atol=1.5)


def test_sam_is_asked_where_prompts_are_given(encoder: Encoder) -> None:
    """On slices beyond the painted ones as well, and with what is given there rather than what was painted."""
    grey, truth = ball()
    decoder, prompts = encoder.sam_parts()
    asked: list[Any] = []
    prompts.register_forward_pre_hook(lambda _, arguments: asked.append(arguments[0]))
    given = np.zeros_like(truth)
    given[1, 30:34, 4:8] = 1
    source = EncodedVolume(encoder, grey, 0)
    ZeroShotSam(source, decoder, prompts, ONE_POINT, given)(grey, paint(truth, 0, (4, 8)), 0)
    ((coordinates, _),) = asked
    x, y = (coordinates[0, 0] + 0.5) / (128 / SIDE) - 0.5
    assert given[1, round(float(y)), round(float(x))] == 1


def test_inner_points_lie_inside_and_apart() -> None:
    mask = np.zeros((30, 50), bool)
    mask[5:15, 5:45] = True
    points = inner_points(mask, 3)
    assert all(mask[int(row), int(column)] for row, column in points)
    assert abs(points[0][0] - 9.5) <= 1
    assert min(np.hypot(a[0] - b[0], a[1] - b[1]) for n, a in enumerate(points) for b in points[:n]) > 4
    single = np.zeros((4, 4), bool)
    single[1, 2] = True
    assert inner_points(single, 5) == [(1.0, 2.0)]


def test_shapes_run_from_one_painted_slice_to_the_next() -> None:
    first, last = np.zeros((21, 21), np.uint8), np.zeros((21, 21), np.uint8)
    first[6:15, 6:15], last[2:19, 2:19] = 1, 1
    shapes = interpolate_shapes({2: first, 6: last}, 9)
    areas = np.count_nonzero(shapes, axis=(1, 2)).tolist()
    assert areas[:2] == [0, 0] == areas[7:]
    assert areas[2] == 81 and areas[6] == 17 * 17 and areas == [*sorted(areas[:7]), 0, 0]
    np.testing.assert_array_equal(shapes[2], first)
    ending = interpolate_shapes({2: first, 6: np.zeros_like(first)}, 9)
    assert ending[3].any() and not ending[5].any()
    first[0, 0] = IGNORE
    assert interpolate_shapes({2: first, 6: last}, 9).max() == 1


def test_neighbouring_classes_do_not_cover_each_other() -> None:
    truth = ct_phantom((12, 40, 48), seed=3)[1].layers[0]
    names = {value: number for number, value in enumerate(np.unique(truth))}
    classes = np.vectorize(names.get)(truth).astype(np.uint8)
    painted = {index: classes[index] for index in (2, 5, 8)}
    shapes = interpolate_shapes(painted, 12)
    assert class_count_of(painted) == shapes.max()
    unseen = [3, 4, 6, 7]
    assert dice(shapes[unseen] > 0, classes[unseen] > 0) > 0.75
