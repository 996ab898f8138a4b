"""Runs that end early, and many in a row, with the real background process."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import slicer
from journey import PAINTED, STRAIGHT, Journey, ellipsoid, imageOf, nodeNames

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.workflow import State

STEPS = 2
RUNS, FIRST_RUNS = 20, 5
GROWTH_BYTES = 20_000_000


@pytest.fixture
def ready(journey: Journey) -> Journey:
    """Three slices are painted; a short range makes runs quick."""
    truth = ellipsoid()
    journey.open(STRAIGHT, imageOf(truth))
    journey.paint(truth, 0, PAINTED)
    journey.limit(14, 18)
    return journey


def test_the_process_is_killed_mid_run(ready: Journey) -> None:
    before = ready.stored()
    ready.start()
    ready.until(lambda: "encode" in ready.stages or "predict" in ready.stages)
    os.kill(ready.client.pid, signal.SIGKILL)
    ready.until(lambda: ready.session.state is State.IDLE)
    ready.checkClean()
    assert "The background process was killed" in ready.message() and "Start again" in ready.message()
    assert ready.stored() == before
    ready.propagate()
    assert ready.message() == ""
    ready.press("discardButton")
    ready.checkClean()


@pytest.mark.parametrize("stage", ["prepare", "load", "encode", "learn", "predict"])
def test_cancel_in_each_stage(ready: Journey, stage: str) -> None:
    slicer.util.updateVolumeFromArray(ready.volume, imageOf(ellipsoid(), seed=len(stage)))  # nothing is cached
    before, button = ready.stored(), ready.ui.propagateButton
    pressed: list[str] = []

    def cancel(now: str) -> None:
        if now == stage and not pressed:
            pressed.append(button.text)
            button.click()

    button.click()
    ready.session.changed.connect(lambda: cancel("prepare"))
    ready.session.progressed.connect(lambda progress: cancel(progress.stage))
    ready.widget.panel.update()
    ready.session.changed.emit()
    ready.until(lambda: bool(pressed) and ready.session.state is State.IDLE)
    assert pressed == ["Cancel"]
    ready.checkClean()
    assert "cancelled" in ready.message()
    assert ready.stored() == before


def test_a_second_propagate_while_one_runs(ready: Journey) -> None:
    ready.start()
    said = len(ready.said)
    ready.session.propagate()
    assert "under way" in ready.said[said].text
    assert ready.session.state is State.RUNNING
    ready.until(lambda: ready.session.state is State.PREVIEW)
    ready.press("againButton")  # there is a result, which a new run replaces
    ready.until(lambda: ready.session.state is State.PREVIEW)
    assert sum("preview" in name for name in nodeNames("vtkMRMLSegmentationNode")) == 1


@pytest.mark.parametrize("state", [State.PREPARING, State.RUNNING, State.PREVIEW])
def test_the_volume_is_removed(ready: Journey, state: State) -> None:
    ready.ui.propagateButton.click()
    ready.until(lambda: ready.session.state is state)
    slicer.mrmlScene.RemoveNode(ready.volume)
    ready.checkClean()
    assert ready.session.target is None
    assert "volume was removed" in ready.message()
    assert not ready.ui.propagateButton.enabled
    assert "Choose a volume" in ready.ui.propagateButton.toolTip


def test_the_segmentation_is_removed(ready: Journey) -> None:
    ready.start()
    slicer.mrmlScene.RemoveNode(ready.segmentation)
    ready.checkClean()
    assert "segmentation was removed" in ready.message()


def test_the_scene_is_closed_under_a_run(ready: Journey) -> None:
    ready.start()
    slicer.mrmlScene.Clear(0)
    ready.checkClean()
    assert not ready.ui.propagateButton.enabled


def status(name: str) -> int:
    """Return a number of /proc/self/status; sizes in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def children() -> int:
    """Return how many processes started by this one still exist."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += int(fields[1]) == os.getpid()
    return found


def observers(journey: Journey) -> int:
    """Return VTK's observers of scene, volume and segmentation, and the session's."""
    watched = [slicer.mrmlScene, journey.volume, journey.segmentation, journey.segmentation.GetSegmentation()]
    signals = [getattr(journey.session, name) for name in ("changed", "progressed", "said", "logged")]
    return sum(str(each).count("vtkObserver (") for each in watched) + sum(len(each._observers) for each in signals)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's /proc")
def test_twenty_runs_in_a_row(journey: Journey) -> None:
    """On a volume of 3 MB, so that a copy of it left behind by each run would be noticed."""
    shape = (24, 256, 256)
    truth = ellipsoid(shape)
    journey.client.steps = 1
    journey.open(Geometry((256, 256, 24), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0)), imageOf(truth))
    journey.paint(truth, 0, (5, 11, 18))
    journey.limit(12, 12)
    counts = []
    for number in range(RUNS):
        journey.propagate()
        journey.press("applyButton" if number % 2 else "discardButton")
        if number % 2:
            journey.editor.undo()
        journey.checkClean()
        journey.until(lambda: journey.ui.propagateButton.enabled)
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        counts.append((children(), status("Threads"), nodes, observers(journey), status("VmRSS")))
    found = np.array(counts)
    assert observers(journey) > 10
    assert (found[FIRST_RUNS:, :4].max(axis=0) <= found[:FIRST_RUNS, :4].max(axis=0)).all(), found
    growth = 1024 * (found[-1, 4] - found[FIRST_RUNS - 1, 4])
    assert growth < GROWTH_BYTES, found
