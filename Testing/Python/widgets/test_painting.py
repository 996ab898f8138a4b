"""Painted slices, thumbnails, axis and range, and the confidence strip."""

from typing import Any

import fakes
import numpy as np
import pytest
import qt
from harness.binding import QtCore, QtGui

from FewShotSAMLib.core.confidence_colors import MIDDLE, SURE, UNSURE, confidence_colors
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.widgets.display import toPixmap
from FewShotSAMLib.widgets.painted_list import squared
from FewShotSAMLib.widgets.strip_image import stripImage
from FewShotSAMLib.workflow import PaintedSlice, State

INK, PAPER = (20, 20, 20), (245, 245, 245)


@pytest.fixture
def painting(panel: Any, scene: Any) -> Any:
    """Three painted slices and an empty one, along k."""
    panel.ui.volumeSelector.setCurrentNodeID(scene.volume.GetID())
    panel.go(axis=0, painted=fakes.painted(10, 20, 30, empty=(3,)))
    return panel


def rows(panel: Any) -> list[Any]:
    tree = panel.ui.paintedList
    return [tree.topLevelItem(row) for row in range(tree.topLevelItemCount)]


def test_the_list_shows_numbers_ticks_and_segments(painting: Any) -> None:
    assert [item.text(0) for item in rows(painting)] == ["Slice 3", "Slice 10", "Slice 20", "Slice 30"]
    assert all(item.checkState(0) == qt.Qt.Checked for item in rows(painting))
    labels = [painting.ui.paintedList.itemWidget(item, 1).text for item in rows(painting)]
    assert labels[0] == "declared empty"
    assert "#e6664c" in labels[1]
    assert "tumour" in labels[1]


def test_thumbnails_come_one_at_a_time_and_again_after_an_edit(painting: Any) -> None:
    painting.session.calls.clear()
    painting.session.changed.emit()
    painting.wait(30)
    assert painting.session.called("thumbnail") == [(3,), (10,), (20,), (30,)]
    assert all(not item.icon(0).isNull() for item in rows(painting))


def test_a_thumbnail_that_fails_does_no_harm(painting: Any) -> None:
    def fail(index: int, size: int) -> np.ndarray:
        raise BadInputError("The volume is gone.")

    painting.session.thumbnail = fail
    painting.session.changed.emit()
    painting.wait(20)


def test_a_click_jumps(painting: Any, scene: Any) -> None:
    item = rows(painting)[2]
    tree = painting.ui.paintedList
    tree.native.itemClicked.emit(item, 0)
    assert painting.views.jumps == [(scene.volume.GetID(), 0, 20)]


def test_ticks_and_deletion_reach_the_session(painting: Any) -> None:
    rows(painting)[1].setCheckState(0, qt.Qt.Unchecked)
    assert painting.session.called("set_ticked") == [(10, False)]
    assert not painting.ui.deleteSliceButton.enabled
    rows(painting)[3].setSelected(True)
    painting.wait(10)
    painting.ui.deleteSliceButton.click()
    assert painting.session.called("delete_slice") == [(30,)]


def test_the_list_is_not_made_again_while_nothing_changes(painting: Any) -> None:
    rows(painting)[3].setSelected(True)
    before = rows(painting)
    painting.go(state=State.RUNNING)
    assert rows(painting) == before
    painting.go(painted=fakes.painted(10, 30))
    assert [item.text(0) for item in rows(painting) if item.isSelected()] == ["Slice 30"]


def test_the_empty_button_is_about_the_slice_that_is_shown(painting: Any) -> None:
    button = painting.ui.emptySliceButton
    painting.wait(10)
    assert (button.text, button.enabled) == ("Declare slice 12 empty", True)
    button.click()
    assert painting.session.called("set_empty") == [(12, True)]
    painting.views.current = 3
    painting.wait(10)
    assert button.text == "Slice 3 is not empty"
    button.click()
    assert painting.session.called("set_empty")[-1] == (3, False)
    painting.views.current = None
    painting.wait(10)
    assert not button.enabled and "rotate the views" in button.toolTip
    painting.go(axis=None)
    assert "choose the axis" in button.toolTip


def test_the_list_tells_what_is_known_of_each_segment(painting: Any) -> None:
    entries = (
        PaintedSlice(10, ("s1", "s2")),
        PaintedSlice(20, ("s1",), unknown_ids=("s2",), odd_ids=("s1",)),
        PaintedSlice(30, ("s1", "s2")),
        PaintedSlice(35, (), absent_ids=("s2",)),
    )
    painting.go(painted=entries)
    tree = painting.ui.paintedList
    labels = [tree.itemWidget(item, 1) for item in rows(painting)]
    assert "very little" in labels[1].text and "tumour ?" in labels[1].text and "Far less" in labels[1].toolTip
    assert "none of" in labels[3].text and "tumour" in labels[3].text and "?" not in labels[0].text
    labels[1].native.linkActivated.emit("20")
    assert painting.session.called("set_ticked") == [(20, False)]
    assert all(label.native.sizeHint().width() <= tree.native.viewport().width() for label in labels)


def test_a_slice_can_hold_none_of_one_segment(painting: Any) -> None:
    line = painting.ui.absentLabel
    assert line.visible and "Slice 12 holds none of:" in line.text
    assert "☐" in line.text and "liver" in line.text and "tumour" in line.text
    line.native.linkActivated.emit("s2")
    assert painting.session.called("set_empty") == [(12, True, "s2")]
    painting.go(painted=(*fakes.painted(10, 20), PaintedSlice(12, (), absent_ids=("s2",))))
    assert line.text.count("☑") == 1 and line.text.index("☑") < line.text.index("tumour")
    line.native.linkActivated.emit("s2")
    assert painting.session.called("set_empty")[-1] == (12, False, "s2")
    painting.views.current = 10
    painting.wait(10)
    assert not line.visible, "both are painted there"
    painting.go(painted=(PaintedSlice(10, ("s1",)),))
    painting.views.current = 12
    painting.wait(10)
    assert not line.visible, "of a single segment the button below the list says all"
    painting.go(painted=fakes.painted(10, 20), state=State.RUNNING)
    assert not line.visible


def test_tilted_views_are_told_until_they_are_rotated(painting: Any) -> None:
    frame = painting.ui.tiltFrame
    assert not frame.visible
    painting.views.tilted = True
    painting.wait(10)
    assert frame.visible
    painting.ui.rotateViewsButton.click()
    assert not frame.visible and not painting.views.tilted


def test_axis_and_range(painting: Any) -> None:
    ui = painting.ui
    ui.axisChoice.setCurrentIndex(3)
    assert painting.session.called("set_axis")[-1] == (2,)
    ui.axisChoice.setCurrentIndex(0)
    assert painting.session.called("set_axis")[-1] == (None,)
    assert not ui.firstSlice.enabled
    ui.rangeCheck.click()
    ui.firstSlice.setValue(5)
    ui.lastSlice.setValue(25)
    assert painting.session.range == (5, 25)
    assert (ui.firstSlice.maximum, ui.firstSlice.enabled) == (39, True)
    ui.rangeCheck.click()
    assert painting.session.range is None


def _wheel(widget: Any) -> None:
    """Turn the wheel one step down over the middle of a widget."""
    middle = QtCore.QPointF(widget.native.rect().center())
    everywhere = widget.native.mapToGlobal(middle.toPoint())
    step, none = QtCore.QPoint(0, -120), QtCore.QPoint(0, 0)
    buttons = (QtCore.Qt.NoButton, QtCore.Qt.NoModifier, QtCore.Qt.NoScrollPhase, False)
    event = QtGui.QWheelEvent(middle, QtCore.QPointF(everywhere), none, step, *buttons)
    QtCore.QCoreApplication.sendEvent(widget.native, event)


def test_scrolling_the_panel_chooses_nothing(painting: Any) -> None:
    ui = painting.ui
    ui.rangeCheck.click()
    before = (ui.axisChoice.currentIndex, painting.session.range)
    for widget in (ui.axisChoice, ui.firstSlice, ui.lastSlice):
        widget.native.clearFocus()
        _wheel(widget)
    assert (ui.axisChoice.currentIndex, painting.session.range) == before
    assert painting.session.called("set_axis") == []


def test_strip_image_marks_what_it_should() -> None:
    review = fakes.review()
    image = stripImage(review, 20, 400, 42, INK, PAPER)
    assert image.shape == (42, 400, 3)
    assert tuple(image[0, 105]) == INK  # slice 10: a full bar
    assert tuple(image[5, 35]) == INK  # slice 3, empty: the lower half of one
    assert tuple(image[0, 35]) != INK
    assert tuple(image[20, 105]) == SURE
    assert tuple(image[41, 355]) == UNSURE  # slice 35 is the next one
    assert tuple(image[20, 204]) == INK  # slice 20 is shown
    assert (image[20, [202, 206]] == PAPER).all()


def test_strip_colors_run_from_orange_to_blue() -> None:
    colors = confidence_colors(np.array([0.0, 0.5, 0.75, 1.0]))
    assert [tuple(color) for color in colors] == [UNSURE, UNSURE, MIDDLE, SURE]


def test_strip_of_more_slices_than_columns_still_shows_the_last() -> None:
    image = stripImage(fakes.review(), 39, 17, 42, INK, PAPER)
    assert image.shape == (42, 17, 3)


def _mouse(panel: Any, kind: str, x: int) -> None:
    label = panel.ui.stripLabel.native
    button = QtCore.Qt.LeftButton if kind == "MouseButtonPress" else QtCore.Qt.NoButton
    position = QtCore.QPointF(x, 20)
    event = QtGui.QMouseEvent(getattr(QtCore.QEvent, kind), position, position, button, button, QtCore.Qt.NoModifier)
    QtCore.QCoreApplication.sendEvent(label, event)


def test_a_click_on_the_strip_jumps_and_the_tooltip_tells(painting: Any, scene: Any) -> None:
    painting.go(state=State.PREVIEW, review=fakes.review())
    width = painting.ui.stripLabel.width
    assert width > 200
    _mouse(painting, "MouseButtonPress", round(width * 35.5 / 40))
    assert painting.views.jumps == [(scene.volume.GetID(), 0, 35)]
    _mouse(painting, "MouseMove", round(width * 35.5 / 40))
    assert painting.ui.stripLabel.toolTip == "Slice 35: predicted, confidence 73 %"
    _mouse(painting, "MouseMove", round(width * 10.5 / 40))
    assert painting.ui.stripLabel.toolTip == "Slice 10: painted"
    _mouse(painting, "MouseButtonPress", width + 50)
    assert painting.views.jumps[-1] == (scene.volume.GetID(), 0, 39)


def test_review_buttons(painting: Any) -> None:
    ui = painting.ui
    assert not ui.nextSliceButton.enabled
    assert not ui.againButton.enabled
    painting.go(review=fakes.review())
    assert "Slice 35" in ui.nextSliceButton.toolTip
    assert ui.summaryLabel.text.startswith("35 slices in 21 s")
    ui.nextSliceButton.click()
    assert painting.views.current == 35
    ui.againButton.click()
    assert painting.session.called("propagate") == [()]
    painting.go(reason="Nothing has changed since the last run.")
    assert not ui.againButton.enabled
    assert ui.againButton.toolTip == "Nothing has changed since the last run."


def test_pixmap_has_the_colors_of_the_array() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    pixels = toPixmap(image).toImage()
    assert (pixels.width(), pixels.height()) == (3, 2)
    color = pixels.pixelColor(2, 1)
    assert (color.red(), color.green(), color.blue()) == tuple(image[1, 2])


def test_squared_centers() -> None:
    square = squared(np.full((4, 8, 3), 200, np.uint8), 8)
    assert square.shape == (8, 8, 3)
    assert square[:, 0, 0].tolist() == [0, 0, 200, 200, 200, 200, 0, 0]
