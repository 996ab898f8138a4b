"""The panel with its real session and scene on volumes in any position: what is chosen, seen, painted and written."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from harness import qmrml_widgets
from harness.places import (
    GRID,
    LINEAR,
    add_in_editor,
    add_transform,
    bend,
    index_to_world,
    paint_in_world,
    points_in_world,
    points_of,
    same_places,
)
from harness.scene import RAS, add_segmentation, add_volume, labelmap, only, paint, store, voxels
from journey import Journey, nodeNames

from FewShotSAMLib.mrml.choice import defaultVolumeId, segmentationsOf
from FewShotSAMLib.mrml.volumes import volumeGeometry

PAINTED = {0: [2, 4, 6], 1: [3, 5, 7], 2: [4, 6, 9]}
TRUTH = np.zeros(GRID.shape, bool)
TRUTH[1:8, 2:9, 3:11] = True


class AnsweringClient:
    """Stands in for the background process: it answers each propagation at once with the given classes."""

    running = False

    def __init__(self) -> None:
        self.answer: Callable[[], np.ndarray] = lambda: TRUTH.astype(np.uint8)
        self._events: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    def start(self) -> None:
        self.running = True

    def request(self, command: str, parameters: Mapping[str, Any]) -> str:
        name = f"r{next(self._ids)}"
        if command == "propagate":
            classes, axis = self.answer(), parameters["axis"]
            np.save(parameters["classes"], classes)
            known = dict.fromkeys(parameters["painted_slices"], "painted")
            slices = [
                {"index": n, "origin": known.get(n, "predicted"), "confidence": 1.0} for n in range(classes.shape[axis])
            ]
            asked = [each["index"] for each in slices if each["origin"] == "predicted"]
            report = {"axis": axis, "slices": slices, "next_slices": [], "mean_confidence": 1.0, "asked": asked}
            report |= {"encoder": {"name": "none", "device": "cpu"}, "seconds": {"total": 0.0}}
            report |= {"corrected": None, "can_be_corrected": False}
            self._events.append({"type": "result", "id": name, "report": report})
        return name

    def poll(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        events, self._events = self._events, []
        return events

    def cancel(self, request_id: str) -> None:
        self._events = [event for event in self._events if event["id"] != request_id]

    def close(self) -> None:
        self.running = False


@pytest.fixture
def client() -> AnsweringClient:
    return AnsweringClient()


@pytest.fixture
def opened(tmp_path: Path, client: AnsweringClient) -> Iterator[Callable[[], Journey]]:
    """Open the module on the scene as it is then."""
    made: list[Journey] = []

    def open_() -> Journey:
        made.append(Journey(tmp_path, client))
        made[0].widget.enter()
        made[0].rest()
        return made[0]

    yield open_
    for each in made:
        each.close()


def volumeUnder(name: str, label: str = "CT") -> Any:
    """A volume under linear transforms."""
    volume = add_volume(slicer.mrmlScene, np.where(TRUTH, 1000, 0).astype(np.int16), GRID, label)
    parent = add_transform(slicer.mrmlScene, LINEAR[name])
    volume.SetAndObserveTransformNodeID(parent.GetID() if parent is not None else None)
    return volume


def addView(**shown: str) -> Any:
    """Add a slice view that shows volumes; of background, foreground, label."""
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    for layer, nodeId in shown.items():
        getattr(view, f"Set{layer.capitalize()}VolumeID")(nodeId)
    return view


def shownIn(*views: Any) -> list[tuple[str | None, ...]]:
    return [(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetLabelVolumeID()) for view in views]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("isEditors", [False, True])
@pytest.mark.parametrize("name", LINEAR)
def test_painted_seen_propagated_applied_and_taken_back(
    opened: Callable[[], Journey], name: str, isEditors: bool, axis: int
) -> None:
    volume = volumeUnder(name)
    made = add_in_editor(slicer.mrmlScene, volume, ["A"]) if isEditors else None
    journey = opened()
    assert journey.ui.volumeSelector.currentNodeID == volume.GetID()
    assert made is None or journey.segmentation is made, "the volume's own is chosen, and none is made"
    toWorld, (segment,) = index_to_world(GRID, LINEAR[name]), journey.segmentIds()
    drawn = only(TRUTH, axis, PAINTED[axis])
    paint_in_world(journey.segmentation, volume, segment, drawn, toWorld)
    journey.until(lambda: len(journey.session.painted) == 3)
    assert (journey.session.axis, [each.index for each in journey.session.painted]) == (axis, PAINTED[axis])
    journey.ui.propagateButton.click()
    journey.untilPreview()
    assert same_places(points_in_world(journey.session.preview.node, segment), points_of(TRUTH, toWorld))
    journey.press("applyButton")
    assert same_places(points_in_world(journey.segmentation, segment), points_of(TRUTH, toWorld))
    journey.editor.undo()
    assert same_places(points_in_world(journey.segmentation, segment), points_of(drawn, toWorld))
    assert [message for message in journey.said if message.level != "info"] == []


@pytest.mark.parametrize("way", ["the panel's button", "the module Data"])
@pytest.mark.parametrize("isPainted", [False, True])
def test_a_bent_volume_is_told_once_and_hardened_to_a_right_result(
    opened: Callable[[], Journey], client: AnsweringClient, way: str, isPainted: bool
) -> None:
    """As Slicer loads gantry tilt: the slices are shifted relative to each other."""
    volume = volumeUnder("no transform")
    bend(volume, np.outer(np.arange(9), (0.0, 0.9, 0.0)))
    made = None
    if isPainted:
        made = add_in_editor(slicer.mrmlScene, volume, ["A"])
        paint_in_world(made, volume, "A", only(TRUTH, 0, PAINTED[0]), RAS @ GRID.index_to_physical())
    journey = opened()
    journey.rest(0.6)
    ui = journey.ui
    assert ui.tiltFrame.visible and "nonlinear" in ui.tiltLabel.text and not ui.propagateButton.enabled
    assert len([message for message in journey.said if message.level == "error"]) == int(isPainted)
    assert nodeNames("vtkMRMLSegmentationNode") == (["segmentation"] if isPainted else [])
    assert not ui.emptySliceButton.enabled, "no view shows a slice of it"

    if way == "the panel's button":
        assert ui.rotateViewsButton.text == "Harden transform"
        ui.rotateViewsButton.click()
    else:
        for node in (volume, made) if isPainted and made.GetParentTransformNode() else (volume,):
            node.HardenTransform()
    journey.rest(0.6)
    assert "nonlinear" not in ui.tiltLabel.text and volume.GetParentTransformNode() is None
    if isPainted and way == "the module Data":  # the volume's grid was shifted by a part of a voxel
        assert "another grid" in journey.said[-1].text and "Specify geometry" in journey.said[-1].hint
        return
    geometry = volumeGeometry(volume)
    toWorld, seen = RAS @ geometry.index_to_physical(), slicer.util.arrayFromVolume(volume) > 500
    (segment,) = journey.segmentIds()
    if isPainted:
        assert journey.segmentation is made
    else:
        paint_in_world(journey.segmentation, volume, segment, only(seen, 0, PAINTED[0]), toWorld)
    journey.until(lambda: len(journey.session.painted) == 3)
    client.answer = lambda: seen.astype(np.uint8)
    before = voxels(journey.segmentation, segment, geometry)
    journey.ui.propagateButton.click()
    journey.untilPreview()
    journey.press("applyButton")
    expected = seen.copy()
    for each in journey.session.painted:
        expected[each.index] = before[each.index]
    assert same_places(points_in_world(journey.segmentation, segment), points_of(expected, toWorld))


def test_opening_the_module_changes_no_view(opened: Callable[[], Journey]) -> None:
    """Not even by the segmentation that comes first, which was made on another volume."""
    first, second = volumeUnder("no transform", "CT"), volumeUnder("shift", "MR")
    other = add_in_editor(slicer.mrmlScene, first, ["A"])
    colors = slicer.vtkMRMLColorTableNode()
    colors.SetTypeToCool1()
    colors.SetSingletonTag("Labels")  # the application has it, and a label map in a view needs it
    slicer.mrmlScene.AddNode(colors)
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    views = [logic.GetSliceCompositeNode() for logic in slicer.app.layoutManager().mrmlSliceLogics()]
    for view, layers in zip(views, ((second, None, labels), (second, first, None), (None, None, labels)), strict=True):
        for layer, node in zip(("Background", "Foreground", "Label"), layers, strict=True):
            getattr(view, f"Set{layer}VolumeID")(node.GetID() if node is not None else None)
    before = shownIn(*views)
    journey = opened()
    assert shownIn(*views) == before
    assert journey.ui.volumeSelector.currentNodeID == second.GetID(), "the one in the views"
    assert journey.segmentation is not other, "it belongs to the other volume"
    assert journey.segmentation.GetNodeReference("referenceImageGeometryRef") is second
    slicer.mrmlScene.StartState(slicer.mrmlScene.ImportState)
    slicer.mrmlScene.EndState(slicer.mrmlScene.ImportState)
    assert shownIn(*views) == before
    journey.ui.volumeSelector.setCurrentNodeID(first.GetID())  # now the user chooses it
    assert [shown[0] for shown in shownIn(*views)] == [first.GetID(), second.GetID(), first.GetID()]
    assert journey.segmentation is other, "and its own segmentation comes with it"


def test_which_volume_is_meant() -> None:
    scene = slicer.mrmlScene
    assert defaultVolumeId(scene) == ""
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    view = addView(background=labels.GetID())
    assert defaultVolumeId(scene) == ""
    first, second = volumeUnder("no transform"), volumeUnder("no transform")
    assert defaultVolumeId(scene) == first.GetID()
    view.SetForegroundVolumeID(second.GetID())
    assert defaultVolumeId(scene) == second.GetID()
    addView(background=first.GetID())
    assert defaultVolumeId(scene) == first.GetID(), "a background rather than what is blended over it"
    first.SetHideFromEditors(True)
    assert defaultVolumeId(scene) == second.GetID()


def test_which_segmentations_are_a_volumes_own() -> None:
    scene = slicer.mrmlScene
    volume, other = volumeUnder("rotation"), volumeUnder("no transform")
    toWorld = index_to_world(GRID, LINEAR["rotation"])
    loaded, displaced, foreign, empty = (scene.AddNewNodeByClass("vtkMRMLSegmentationNode") for _ in range(4))
    for node, place in (
        (loaded, toWorld),
        (displaced, RAS @ GRID.index_to_physical()),
        (foreign, toWorld @ np.diag([1, 2, 1, 1])),
    ):
        node.GetSegmentation().AddEmptySegment("A", "A")
        store(node, labelmap(TRUTH, place), {"A": 1})
    hidden = add_in_editor(scene, volume, ["A"])
    hidden.SetHideFromEditors(True)
    made = add_in_editor(scene, volume, ["A"])
    assert segmentationsOf(scene, volume) == [made.GetID(), loaded.GetID()]
    assert segmentationsOf(scene, other) == [displaced.GetID()]
    assert empty.GetID() not in segmentationsOf(scene, volume)


def test_another_volume_gets_a_segmentation_of_its_own(opened: Callable[[], Journey]) -> None:
    """And going back and forth creates no more."""
    first, second = volumeUnder("no transform", "first"), volumeUnder("scaling", "second")
    journey = opened()
    journey.ui.volumeSelector.setCurrentNodeID(first.GetID())
    mine = journey.segmentation
    journey.ui.volumeSelector.setCurrentNodeID(second.GetID())
    assert journey.segmentation is not mine
    journey.ui.volumeSelector.setCurrentNodeID(first.GetID())
    assert journey.segmentation is mine and len(nodeNames("vtkMRMLSegmentationNode")) == 2


def test_a_segmentation_that_the_user_chooses_stays_chosen(opened: Callable[[], Journey]) -> None:
    """T1 and T2 on one grid: what was painted on one is right on the other."""
    first, second = volumeUnder("no transform", "T1"), volumeUnder("no transform", "T2")
    node = add_segmentation(slicer.mrmlScene, first, ["A"])
    journey = opened()
    journey.ui.volumeSelector.setCurrentNodeID(second.GetID())
    journey.ui.segmentationSelector.setCurrentNodeID(node.GetID())
    paint(node, "A", TRUTH, GRID)
    journey.rest(0.6)
    assert journey.segmentation is node and journey.session.target.volume == second.GetID()
    assert journey.said == []


def test_the_preview_is_in_no_selector_and_is_never_chosen(opened: Callable[[], Journey]) -> None:
    volume = volumeUnder("no transform")
    journey = opened()
    paint(journey.segmentation, *journey.segmentIds(), only(TRUTH, 0, PAINTED[0]), GRID)
    journey.until(lambda: len(journey.session.painted) == 3)
    journey.ui.propagateButton.click()
    journey.untilPreview()
    selector, preview = journey.ui.segmentationSelector, journey.session.preview.node
    offered = [selector.nodeFromIndex(row).GetID() for row in range(selector.nodeCount())]
    assert preview.GetID() not in offered and journey.segmentation.GetID() in offered
    assert not preview.GetHideFromEditors() and segmentationsOf(slicer.mrmlScene, volume) == [
        journey.segmentation.GetID()
    ]
    journey.press("discardButton")
    assert nodeNames("vtkMRMLSegmentationNode") == [journey.segmentation.GetName()]
    assert list(selector.sortFilterProxyModel().hiddenNodeIDs) == []


def test_moving_the_volume_moves_what_counts_as_painted(opened: Callable[[], Journey]) -> None:
    """The user puts the volume under a transform by hand, and removes it again."""
    volume = volumeUnder("no transform")
    journey = opened()
    journey.segmentation.SetAndObserveTransformNodeID(None)
    paint(journey.segmentation, *journey.segmentIds(), only(TRUTH, 0, PAINTED[0]), GRID)
    journey.until(lambda: [each.index for each in journey.session.painted] == PAINTED[0])
    step = np.eye(4)
    step[:3, 3] = (RAS @ GRID.index_to_physical())[:3, 2]
    volume.SetAndObserveTransformNodeID(add_transform(slicer.mrmlScene, [step]).GetID())
    journey.until(lambda: [each.index for each in journey.session.painted] == [1, 3, 5])
    volume.SetAndObserveTransformNodeID(None)
    journey.until(lambda: [each.index for each in journey.session.painted] == PAINTED[0])


def test_a_colour_volume_can_be_chosen_and_a_label_map_is_not(opened: Callable[[], Journey]) -> None:
    colours = add_volume(slicer.mrmlScene, np.zeros((*GRID.shape, 3), np.uint8), GRID, "photo")
    assert defaultVolumeId(slicer.mrmlScene) == colours.GetID()
    journey = opened()
    assert journey.session.target.volume == colours.GetID()


@pytest.fixture(autouse=True)
def following() -> Iterator[None]:
    yield
    qmrml_widgets.stopFollowing()
