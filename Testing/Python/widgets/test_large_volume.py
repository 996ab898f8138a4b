"""The panel on a clinical volume with the real background process: it stays responsive all the time."""

import numpy as np
from journey import LONGEST_TURN_S, Journey, ellipsoid

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.workflow import State

SHAPE = (300, 512, 512)
STEPS = 0
GRID = Geometry(SHAPE[::-1], (0.8, 0.8, 1.5))


def test_no_turn_of_the_event_loop_is_long(journey: Journey) -> None:
    truth = ellipsoid(SHAPE)
    image = np.random.default_rng(0).integers(-40, 40, SHAPE, np.int16)
    image[truth] += 200
    journey.open(GRID, image)
    journey.paint(truth, 0, (60, 150, 240))
    turns = {}
    for run in ("first answer", "correction"):
        journey.turns.clear()
        journey.propagate()
        turns[run] = np.array(journey.turns)
        journey.press("applyButton")
        if run == "first answer":
            journey.paint(np.roll(truth, 6, axis=2), 0, (105,))  # otherwise there might be nothing to correct
    assert dice(journey.voxels(), truth) > 0.95
    assert journey.session.state is State.IDLE
    for found in turns.values():
        assert found[:, 1].max() < LONGEST_TURN_S
        assert (found[:, 0] >= LONGEST_TURN_S).mean() < 0.01
