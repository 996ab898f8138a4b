"""The data sent to the page, without a browser."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from FewShotSAMLib.core.confidence_colors import SURE, UNSURE
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.segment import hex_color
from FewShotSAMLib.web.contents import (
    FIRST_STATE,
    INFO_S,
    MOST_MESSAGES,
    Messages,
    absent_rows,
    changes,
    painted_rows,
    progress_row,
    time_left,
)
from FewShotSAMLib.web.controls import ACTIONS, BRUSH_PLACES, BrushScale, help_lines, shown, slice_overlay
from FewShotSAMLib.web.pictures import color_of_hex, confidence_color, confidence_strip, png
from FewShotSAMLib.widgets.strip_image import stripImage
from FewShotSAMLib.workflow import ERROR, INFO, Message, PaintedSlice, Progress, Review, SceneSegment, SliceReview

STATIC = Path(__file__).resolve().parents[3] / "FewShotSAMLib" / "web" / "static"


def test_png_holds_the_pixels() -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (5, 4)
    length = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(4, 16)
    assert np.array_equal(lines[:, 1:].reshape(4, 5, 3), pixels)


def test_strip_has_a_bar_for_each_slice_and_marks_for_painted_ones() -> None:
    slices = (SliceReview(1, "painted", 1.0), SliceReview(2, "predicted", 0.5), SliceReview(3, "empty", 1.0))
    strip = confidence_strip(Review(0, slices, (2,), 0.5, ""), 6)
    assert strip.count("<rect") == 6 + 2 + 1 and 'viewBox="0 0 6 ' in strip
    assert confidence_color(0.5) in strip and confidence_color(0.5) != confidence_color(0.9)
    assert re.findall('x="(.)" y="21" width="1" height="5" fill="#d55e00"', strip) == ["2"]


def test_panel_and_browser_show_the_same_colour_for_the_same_confidence() -> None:
    confidences = (0.0, 0.31, 0.5, 0.52, 0.66, 0.75, 0.87, 0.99, 1.0)
    slices = tuple(SliceReview(index, "predicted", each) for index, each in enumerate(confidences))
    review = Review(0, slices, (), 0.5, "")
    panel = stripImage(review, None, len(slices), 42, (0, 0, 0), (255, 255, 255))[20]
    browser = re.findall('fill="(#.{6})"', confidence_strip(review, len(slices)))
    assert browser == [f"#{bytes(color).hex()}" for color in panel] and len(set(browser)) == 7
    page = (STATIC / "panel.html").read_text(encoding="utf-8")
    for color, meaning in ((UNSURE, "unsure"), (SURE, "sure")):
        assert f'<i style="background:#{bytes(color).hex()}"></i>{meaning}<' in page


def test_the_list_of_slices_tells_what_is_known_of_each_segment() -> None:
    segments = [SceneSegment(n, n.upper(), (1, 0, 0), np.zeros((0, 0, 0)), (0, 0, 0), 1) for n in ("a", "b")]
    painted = (
        PaintedSlice(4, ("a", "b")),
        PaintedSlice(9, ("a",), unknown_ids=("b",), odd_ids=("a",)),
        PaintedSlice(12, (), absent_ids=("b",)),
        PaintedSlice(20, (), True, True),
    )
    rows = painted_rows(painted, str, segments)
    marks = [[(mark["name"], mark["kind"]) for mark in row["marks"]] for row in rows]
    assert marks == [
        [("A", "complete"), ("B", "complete")],
        [("A", "complete"), ("B", "unknown")],
        [("B", "absent")],
        [],
    ]
    assert [row["painted"] for row in rows] == [True, True, False, False]
    assert [row["odd"] for row in rows] == ["", "A", "", ""] and rows[1]["marks"][0]["color"] == "#ff0000"
    asked = {
        each.index: [(row["id"], row["absent"]) for row in absent_rows(painted, each.index, segments)]
        for each in painted
    }
    assert asked == {4: [], 9: [("b", False)], 12: [("a", False), ("b", True)], 20: []}
    assert absent_rows(painted[2:], 9, segments) == [], "with one segment a slice is empty or not"


def test_colours_survive_the_way_to_the_page_and_back() -> None:
    assert hex_color(color_of_hex("#1f80ff")) == "#1f80ff"
    assert hex_color((-1, 0.5, 2)) == "#0080ff"
    for wrong in ("red", "#12345", "#gggggg", ""):
        with pytest.raises(ValueError):
            color_of_hex(wrong)


def test_brush_goes_from_a_voxel_to_a_quarter_of_the_slice_evenly() -> None:
    scale = BrushScale.of(Geometry((200, 100, 20), (1.0, 1.0, 5.0)))
    assert scale.diameter(0) == 1.0 and scale.diameter(BRUSH_PLACES) == pytest.approx(25.0)
    ratios = [scale.diameter(place + 10) / scale.diameter(place) for place in range(0, BRUSH_PLACES, 10)]
    assert np.allclose(ratios, ratios[0]) and ratios[0] > 1
    assert scale.diameter(-5) == 1.0 and shown(3.14159) == 3.1 and shown(31.4) == 31
    tiny = BrushScale.of(Geometry((2, 2, 2)))
    assert tiny.largest > tiny.smallest


def test_progress_and_time_left() -> None:
    assert progress_row(Progress("encode", "Encoding", 0.256, 75.0)) == {
        "text": "Encoding",
        "percent": 26,
        "left": "1 min 15 s left",
        "can_finish": False,
    }
    assert progress_row(Progress("learn", "Improving"))["can_finish"]
    assert progress_row(Progress("load", "Loading"))["percent"] is None
    assert time_left(None) == "" and time_left(0.2) == "" and time_left(59) == "59 s left"


def test_messages_go_by_themselves_unless_something_is_wrong() -> None:
    now = [0.0]
    messages = Messages(clock=lambda: now[0])
    messages.add(Message(INFO, "Saved."))
    messages.add(Message(ERROR, "No disk.", "Buy one."))
    messages.add(Message(INFO, "Saved."))
    assert [each["text"] for each in messages.rows] == ["No disk. Buy one.", "Saved."]
    assert not messages.expire()
    now[0] = INFO_S + 1
    assert messages.expire() and [each["level"] for each in messages.rows] == [ERROR]
    messages.dismiss(messages.rows[0]["id"])
    assert messages.rows == []
    for number in range(2 * MOST_MESSAGES):
        messages.add(Message(ERROR, str(number)))
    assert len(messages.rows) == MOST_MESSAGES


def test_only_what_changed_is_sent() -> None:
    assert changes({"a": 1, "b": [1, 2], "c": None}, {"a": 1, "b": [1], "d": 0}) == {"b": [1, 2], "c": None}


def test_every_key_is_explained_and_none_twice() -> None:
    assert set(ACTIONS) >= {"arrowup", "arrowdown", "[", "]", "p", "e", " ", "n", "ctrl+z", "ctrl+y"}
    explained = [each["does"] for each in help_lines()]
    assert all(explained) and len(set(explained)) == len(explained)


def test_the_page_reads_nothing_that_the_server_does_not_tell() -> None:
    """Names in the template's bindings are state, loop variables or the browser's own."""
    import re

    template = (STATIC / "panel.html").read_text(encoding="utf-8")
    template += "".join(map(slice_overlay, ("axial", "coronal", "sagittal")))
    bindings = re.findall(r'\{\{(.*?)\}\}|[:@][\w.-]+="([^"]*)"|v-(?:if|else-if|model|html)="([^"]*)"', template)
    code = " ".join(part for groups in bindings for part in groups)
    code = re.sub(r"'[^']*'|\.\w+|\w+:", " ", code)
    names = set(re.findall(r"\b[a-z_]\w*\b", code))
    own = {"c", "s", "p", "m", "k", "row", "name", "trigger", "event", "null", "true", "false", "each"}
    assert names - own <= {*FIRST_STATE, "keys"}, names - own - {*FIRST_STATE}


@pytest.mark.parametrize("name", ["panel.html", "style.css", "page.js"])
def test_the_page_fetches_nothing_from_elsewhere(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "//cdn" not in text
