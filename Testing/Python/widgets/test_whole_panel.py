"""What panel, scene and background process must guarantee together: masking, other grids, corrections, the preview."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from harness.scene import RAS, labelmap, only, paint, voxels
from journey import PAINTED, SHAPE, STRAIGHT, Journey, ellipsoid, imageOf

from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice

STEPS = 2
COS, SIN = np.cos(0.3), np.sin(0.3)
OBLIQUE = replace(STRAIGHT, direction=(COS, 0, SIN, 0, 1, 0, -SIN, 0, COS))


def opened(journey: Journey, geometry: Geometry = STRAIGHT, seed: int = 0) -> np.ndarray:
    """The ellipsoid painted on three slices; returns the whole of it. seed: of the image's noise."""
    truth = ellipsoid()
    journey.open(geometry, imageOf(truth, seed))
    journey.paint(truth, 0, PAINTED)
    return truth


def preview() -> Any:
    """Return the node of the preview."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    (found,) = [node for node in nodes if node.GetName().startswith("FewShotSAM preview")]
    return found


def test_a_second_segment_under_masking_is_never_changed(journey: Journey) -> None:
    """It intersects the results, and painting is allowed outside all segments only."""
    opened(journey)
    journey.limit(10, 20)
    wall = np.zeros(SHAPE, bool)
    wall[16:20, :32] = True
    journey.segmentation.GetSegmentation().AddEmptySegment("wall", "wall")
    paint(journey.segmentation, "wall", wall, journey.geometry)
    journey.segmentation.GetDisplayNode().SetSegmentVisibility("wall", False)
    node = journey.editor.mrmlSegmentEditorNode()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    journey.propagate()
    journey.press("applyButton")
    assert np.array_equal(voxels(journey.segmentation, "wall", journey.geometry), wall)
    result = journey.voxels()
    assert result[16:20, 32:].any() and not (result & wall).any()


def test_an_oblique_volume_and_a_segmentation_smaller_than_it(journey: Journey) -> None:
    truth = ellipsoid()
    journey.open(OBLIQUE, imageOf(truth))
    box = (slice(5, 26), slice(10, 58), slice(12, 60))
    drawn = only(truth, 0, PAINTED)
    assert not np.delete(drawn, np.s_[box[0]], 0).any()
    part = labelmap(drawn[box], RAS @ OBLIQUE.index_to_physical(), [edge.start for edge in box])
    segment = journey.segmentation.GetSegmentation().GetSegment(journey.segmentIds()[0])
    segment.AddRepresentation("Binary labelmap", part)
    journey.until(lambda: [each.index for each in journey.session.painted] == list(PAINTED))
    before = journey.stored()
    journey.propagate()
    journey.press("applyButton")
    result = journey.voxels()
    assert np.array_equal(result[list(PAINTED)], truth[list(PAINTED)])
    assert dice(result, truth) > 0.9
    journey.editor.undo()
    assert journey.stored() == before


def test_opacity_and_surface_of_the_preview(journey: Journey) -> None:
    ui = journey.ui
    opened(journey)
    journey.limit(8, 23)
    journey.propagate()
    display, surface = preview().GetDisplayNode(), "Closed surface"
    assert display.GetOpacity2DFill() == pytest.approx(ui.opacitySlider.value / 100)
    ui.opacitySlider.setValue(80)
    assert display.GetOpacity2DFill() == pytest.approx(0.8)
    assert display.GetOpacity3D() == pytest.approx(0.8)
    segment = preview().GetSegmentation().GetNthSegment(0)
    assert segment.GetRepresentation(surface) is None
    ui.show3DButton.setChecked(True)
    shown = segment.GetRepresentation(surface).GetBounds()
    assert (shown[5] - shown[4]) / 3 == pytest.approx(18, abs=1)  # the range between the painted 7 and 24, 3 mm each
    ui.show3DButton.setChecked(False)
    assert segment.GetRepresentation(surface) is None
    journey.press("againButton")
    journey.untilPreview()
    opacity = preview().GetDisplayNode().GetOpacity2DFill()
    assert opacity == pytest.approx(ui.opacitySlider.value / 100), "the slider shows what the new preview has"


def test_a_surface_that_is_shown_from_the_beginning_holds_all_slices_in_the_end(journey: Journey) -> None:
    opened(journey)
    journey.limit(8, 23)
    journey.start()
    journey.until(lambda: journey.ui.show3DButton.enabled)
    journey.ui.show3DButton.setChecked(True)
    journey.untilPreview()
    surface = preview().GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface")
    bounds = surface.GetBounds()
    assert (bounds[5] - bounds[4]) / 3 == pytest.approx(18, abs=1)


def test_the_first_answer_can_be_taken_while_more_is_learned(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey.client, "steps", 5000)
    opened(journey)
    journey.limit(8, 23)
    assert not journey.ui.firstAnswerButton.visible
    journey.start()
    journey.until(lambda: journey.ui.firstAnswerButton.visible)
    assert journey.stages[-1] == "learn" and journey.session.preview is not None
    journey.press("firstAnswerButton")
    journey.untilPreview()
    assert not journey.ui.firstAnswerButton.visible and journey.ui.applyButton.enabled
    assert journey.ui.wholeButton.visible, "without a change, it alone learns more"


def test_a_correction_after_apply_goes_on_from_what_was_learned(journey: Journey) -> None:
    truth = opened(journey, seed=70)  # a different image, of which nothing is cached
    journey.propagate()
    first = journey.client.reports[-1]["encoder"]["slices_encoded"]
    assert "learn" in journey.stages
    assert "from the start" in journey.ui.summaryLabel.text
    journey.press("applyButton")
    assert [each.index for each in journey.session.painted] == list(PAINTED)
    journey.until(lambda: journey.ui.nextSliceButton.enabled)
    journey.press("nextSliceButton")
    following = journey.session.next_slice()
    views = journey.widget.panel.services.views
    assert views.currentSlice(journey.volume.GetID(), 0) == following
    corrected = journey.voxels() | truth
    corrected[following, 16:20, 24:44] = True  # so that the slice changes in any case
    journey.paint(corrected, 0, [following])
    drawn = journey.voxels()[[*PAINTED, following]]
    journey.press("againButton")
    journey.untilPreview()
    assert "predicted again" in journey.ui.summaryLabel.text and journey.ui.wholeButton.visible
    again = journey.client.reports[-1]["encoder"]["slices_encoded"]
    assert again <= 2 < first, "those of the first run are kept"
    journey.press("applyButton")
    assert np.array_equal(journey.voxels()[[*PAINTED, following]], drawn)
    journey.ui.wholeButton.click()
    journey.untilPreview()
    assert "continued from the last run" in journey.ui.summaryLabel.text and not journey.ui.wholeButton.visible
