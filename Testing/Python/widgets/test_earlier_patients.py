"""Earlier patients' models in the panel: chosen, stored in the scene, and used by the real background process."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import column
import fakes
import numpy as np
import pytest
import qt
import slicer
from journey import Journey

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.workflow import State
from FewShotSAMLib.workflow.earlier import GONE, WITHOUT_IMAGE

STEPS = 2
NAME = "Größe; 50 % <&> 腎臓"
GEOMETRY = Geometry((column.SHAPE[2], column.SHAPE[1], column.SHAPE[0]), (1.0, 1.0, 3.0), (-20.0, -20.0, 7.0))


def rows(ui: Any) -> dict[str, Any]:
    items = [ui.earlierList.item(row) for row in range(ui.earlierList.count)]
    return {item.text(): item for item in items}


def isTicked(item: Any) -> bool:
    return bool(item.checkState() == qt.Qt.Checked)


def isEnabled(item: Any) -> bool:
    return bool(item.flags() & qt.Qt.ItemIsEnabled)


def test_models_are_chosen_and_the_choice_is_kept_in_the_scene(panel: Any, scene: Any, tmp_path: Path) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    assert not panel.ui.earlierList.visible and not panel.ui.earlierTitle.visible
    for name in (NAME, "blank"):
        panel.session.models.put(name)
    panel.session.models.held[1] = replace(panel.session.models.held[1], images=0)
    panel.go()
    assert panel.ui.earlierList.visible and not any(map(isTicked, rows(panel.ui).values()))
    assert isEnabled(rows(panel.ui)[NAME]) and "liver, tumour" in rows(panel.ui)[NAME].toolTip()
    assert not isEnabled(rows(panel.ui)["blank"]) and rows(panel.ui)["blank"].toolTip() == WITHOUT_IMAGE
    rows(panel.ui)[NAME].setCheckState(qt.Qt.Checked)
    panel.wait(2)
    assert panel.session.earlier == (NAME,) and isTicked(rows(panel.ui)[NAME])
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    assert slicer.mrmlScene.Commit()
    slicer.mrmlScene.Clear(0)
    panel.session.earlier = ()  # as `forget_scene` leaves it
    panel.session.models.held.pop(0)
    assert slicer.mrmlScene.Import()
    panel.wait(2)
    assert panel.session.earlier == (NAME,)
    assert isTicked(rows(panel.ui)[NAME]) and rows(panel.ui)[NAME].toolTip() == GONE
    rows(panel.ui)[NAME].setCheckState(qt.Qt.Unchecked)
    panel.wait(2)
    assert panel.session.earlier == () == panel.widget.panel.services.parameters.earlier
    assert list(rows(panel.ui)) == ["blank"]


def test_nothing_is_chosen_under_a_run_and_what_propagate_again_does_is_told(panel: Any, scene: Any) -> None:
    panel.session.models.put("first")
    panel.go(review=fakes.review(), learned_model="learned.fewshot")
    assert "a second or two" in panel.ui.againButton.toolTip and panel.ui.keepModelButton.visible
    panel.dialogs.answer = "second"
    panel.ui.keepModelButton.click()
    assert panel.session.called("save_model") == [("second",)]
    panel.go(earlier=("first",))
    assert "all slices again" in panel.ui.againButton.toolTip
    panel.go(state=State.RUNNING)
    assert not panel.ui.earlierList.enabled
    panel.go(state=State.IDLE, review=None)
    assert panel.ui.earlierList.enabled and not panel.ui.keepModelButton.visible


def test_a_damaged_choice_in_the_scene_is_none(panel: Any, scene: Any) -> None:
    parameters = panel.widget.panel.services.parameters
    parameters.earlier = ("Größe 腎臓", "b")
    assert parameters.earlier == ("Größe 腎臓", "b")
    for text in ("{]", "3", '{"a": 1}', "[1]"):
        parameters._node().SetParameter("earlier", text)
        assert parameters.earlier == ()


def quality(journey: Journey, truth: np.ndarray) -> float:
    journey.press("applyButton")
    found = dice(*map(column.unpainted, (journey.voxels(), truth)))
    journey.editor.undo()
    journey.rest()
    return found


@pytest.mark.skipif(os.environ.get("FEWSHOTSAM_QT") == "PySide6", reason="what is learned is the same with both")
def test_a_patient_is_saved_and_stands_beside_one_slice_of_the_next(journey: Journey) -> None:
    image, truth = column.patient()
    journey.open(GEOMETRY, image, "first")
    journey.paint(truth, 0, column.PAINTED)
    for index in column.EMPTY:
        journey.session.set_empty(index, True)
    journey.propagate()
    journey.dialogs.answer = "first patient"
    journey.press("keepModelButton")
    assert "with the image" in journey.message()
    journey.press("discardButton")

    image, truth = column.patient(column.SHIFT)
    journey.open(GEOMETRY, image, "next")
    journey.until(lambda: not journey.session.painted)
    journey.paint(truth, 0, [column.ONLY])
    journey.propagate()
    alone = quality(journey, truth)
    journey.ui.paintedSection.collapsed = False
    journey.until(lambda: "first patient" in rows(journey.ui))
    rows(journey.ui)["first patient"].setCheckState(qt.Qt.Checked)
    journey.until(lambda: "earlier patients" in journey.ui.costLabel.text)
    journey.propagate()
    assert "register" in journey.stages
    assert quality(journey, truth) > alone + 0.1
    assert "“first patient” was used" in journey.ui.summaryLabel.text and not journey.ui.wholeButton.visible

    drawn = journey.voxels()
    drawn[15] = truth[15]
    drawn[15, 19:21, 15:30] = True  # so that it is not a result that was undone
    journey.paint(drawn, 0, [column.ONLY, 15])
    journey.ui.againButton.click()
    journey.untilPreview()
    assert "predicted again" not in journey.ui.summaryLabel.text and "was used" in journey.ui.summaryLabel.text
    journey.press("discardButton")
    journey.session.models.delete(journey.session.models.entries()[0])
    journey.session.mark_modified()
    journey.until(lambda: not journey.ui.propagateButton.enabled)
    assert "“first patient” is no longer there" in journey.ui.costLabel.text
    assert not [each for each in journey.said if each.level == "error"]
