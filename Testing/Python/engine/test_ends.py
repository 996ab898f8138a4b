"""Where no slice is declared empty, the network finds a structure's end by itself."""

import numpy as np
import pytest

from FewShotSAMLib import Geometry, propagate
from FewShotSAMLib.core.metrics import dice

SIDE, RADIUS = 48, 15.0


@pytest.mark.parametrize("inset", [1, 5], ids=["near its ends", "further in"])
def test_a_white_ball_in_the_dark_has_no_stalks(inset: int) -> None:
    places = np.indices((SIDE,) * 3) - SIDE / 2
    ball = (places**2).sum(0) <= RADIUS**2
    noise = np.random.default_rng(0).normal(0, 10, ball.shape)
    held = np.flatnonzero(ball.any((1, 2)))
    painted = [held[0] + inset, SIDE // 2, held[-1] - inset]
    drawn = np.zeros(ball.shape, np.uint8)
    drawn[painted] = ball[painted]
    geometry = Geometry((SIDE,) * 3)
    result = propagate((ball * 1000 + noise, geometry), drawn, encoder="tiny", device="cpu", steps=0, no_cache=True)
    found = result.segmentation.mask(result.segmentation.segments[0])
    assert dice(found, ball) >= 0.98
    shown = np.flatnonzero(found.any((1, 2)))
    assert held[0] - 1 <= shown[0] and shown[-1] <= held[-1] + 1
