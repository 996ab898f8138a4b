"""The user's path through the panel with the real session, the real scene and a real background process."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from journey import LONGEST_TURN_S, PAINTED, STRAIGHT, Journey, ellipsoid, imageOf
from warm import BriefClient

from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.workflow import State


@pytest.fixture
def journey(scene: Any, tmp_path: Path, worker_python: str) -> Iterator[Journey]:
    made = Journey(tmp_path / "models", BriefClient(worker_python, tmp_path / "home", steps=4))
    yield made
    made.close()
    assert not made.client.running


def test_paint_propagate_look_apply_undo_save_model(journey: Journey, tmp_path: Path) -> None:
    truth, ui = ellipsoid(), journey.ui
    logged = slicer.app.errorLogModel().logEntryCount()
    journey.open(STRAIGHT, imageOf(truth))
    journey.paint(truth, 0, PAINTED)
    assert ui.paintedList.topLevelItemCount == 3
    before = journey.stored()
    journey.turns.clear()
    journey.propagate()
    turns = np.array(journey.turns)
    assert journey.stored() == before
    journey.press("applyButton")
    after = journey.voxels()
    assert np.array_equal(after[list(PAINTED)], truth[list(PAINTED)])
    assert dice(after, truth) > 0.9
    journey.editor.undo()
    journey.rest()
    assert journey.stored() == before
    journey.dialogs.answer = "ellipsoid"
    journey.press("saveModelButton")
    assert [entry.name for entry in journey.session.models.entries()] == ["ellipsoid"]
    slicer.mrmlScene.Clear(0)
    journey.rest()
    assert (journey.session.state, journey.session.target) == (State.IDLE, None)
    log = slicer.app.errorLogModel()
    assert [log.logEntryDescription(row) for row in range(logged, log.logEntryCount())] == []
    assert turns[:, 1].max() < LONGEST_TURN_S
    # By wall-clock time, another process may have used the processor meanwhile, but not often.
    assert (turns[:, 0] >= LONGEST_TURN_S).mean() < 0.05
    assert "torch" not in sys.modules
