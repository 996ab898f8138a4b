"""The panel as a radiologist sees it: what is always visible, its width, its margins, and its colours."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from harness import application
from harness.binding import QtGui, QtWidgets
from harness.module_panel import NARROW, SMALL, USUAL, ModulePanel, palette
from harness.pythonqt import nativeClasses
from harness.qmrml_widgets import stopFollowing

from FewShotSAMLib.workflow import Message, PaintedSlice, Progress, Settings, State

SECTIONS = ("inputs", "painted", "review", "models", "export", "advanced", "log")
UI_FILE = Path(__file__).resolve().parents[3] / "FewShotSAM" / "Resources" / "UI" / "FewShotSAM.ui"


@pytest.fixture
def shown(panel: Any, scene: Any) -> Any:
    """All sections expanded, five slices painted."""
    for name in SECTIONS:
        getattr(panel.ui, f"{name}Section").collapsed = False
    panel.go(axis=0, painted=fakes.painted(10, 20, 30, empty=(3, 38)), machine=fakes.machine())
    panel.wait(24)
    return panel


def test_the_strip_is_never_higher_or_lower_than_its_lines(shown: Any) -> None:
    """Qt may leave its height when its message changes, which only shows in the application."""
    shell, strip = ModulePanel(shown.root, USUAL), shown.ui.runStrip.native
    shown.say("said", Message("info", "48 slices were written."))
    shown.wait(1)
    for wrong in (strip.height() + 60, strip.height() - 12):
        strip.setGeometry(strip.x(), strip.y(), strip.width(), wrong)
        shown.wait(1)
        application.processEvents()
        assert strip.height() == strip.heightForWidth(strip.width())
    assert shell.sees(shown.ui.messageLabel)


@pytest.mark.parametrize("height", [SMALL, USUAL])
@pytest.mark.parametrize("helped", [False, True], ids=["", "help"])
def test_what_acts_is_always_in_sight(shown: Any, height: int, helped: bool) -> None:
    ui, shell = shown.ui, ModulePanel(shown.root, height)
    shell.help.setChecked(helped)
    application.processEvents()
    assert shell.sees(ui.propagateButton)
    shown.say("said", Message("error", "The GPU has no memory left. " * 3, "Close other programs."))
    shown.go(state=State.RUNNING, preview=fakes.FakePreview())
    for name in SECTIONS:
        getattr(ui, f"{name}Section").collapsed = False
    shown.say("progressed", Progress("predict", "Predicting slices, 34 of 112", 0.3, 75.0))
    application.processEvents()
    acting = (ui.propagateButton, ui.progressBar, ui.stageLabel, ui.applyButton, ui.discardButton, ui.messageLabel)
    assert [widget.name for widget in acting if not shell.sees(widget)] == []
    assert not shell.scrolls()
    assert ui.sectionsArea.native.verticalScrollBar().maximum() > 0
    shell.resize(shell.width(), NARROW)
    application.processEvents()
    assert shell.scrolls(), "what does not fit at all can still be reached"


def test_the_developers_section_above_takes_no_more_than_it_needs(shown: Any) -> None:
    reload = QtWidgets.QPushButton("Reload")
    shown.root.native.layout().insertWidget(0, reload)
    shell = ModulePanel(shown.root, USUAL)
    application.processEvents()
    assert reload.height() <= reload.sizeHint().height() and shell.sees(shown.ui.propagateButton)


def test_the_panels_width_never_changes(shown: Any) -> None:
    """Whatever is collapsed: with each change Slicer would make the views next to it wider or narrower."""
    shell = ModulePanel(shown.root, USUAL)
    widths = set()
    for folded in itertools.chain(*(itertools.combinations(SECTIONS, count) for count in (0, 1, 6, 7))):
        for name in SECTIONS:
            getattr(shown.ui, f"{name}Section").collapsed = name in folded
        application.processEvents()
        widths.add(shell.narrowest())
    for state in State:
        shown.go(state=state, preview=fakes.FakePreview(), review=fakes.review())
        widths.add(shell.narrowest())
    assert len(widths) == 1


def test_painting_makes_the_panel_no_wider(shown: Any) -> None:
    """An effect's options are only shown while it is active; they are wider than the rest of the editor."""
    shell = ModulePanel(shown.root, USUAL)
    shown.wait(1)
    shell.resize(shell.narrowest(), USUAL)
    for name in ("", "Paint", "Draw", "Threshold"):
        shown.editor.setActiveEffectByName(name)
        application.processEvents()
        assert shown.ui.sectionsArea.native.horizontalScrollBar().maximum() == 0, name


def test_the_panel_is_wide_enough_for_the_segment_editor(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its width depends on system, style and version."""
    editor = nativeClasses["qMRMLSegmentEditorWidget"]
    made = editor.__init__

    def wide(self: Any, parent: Any = None) -> None:
        made(self, parent)
        self.setMinimumWidth(470)

    monkeypatch.setattr(editor, "__init__", wide)
    wider = type(panel)()
    shell = ModulePanel(wider.root, SMALL)
    application.processEvents()
    wider.wait(1)
    shell.resize(shell.narrowest(), SMALL)
    application.processEvents()
    area = wider.ui.sectionsArea.native
    assert wider.ui.sectionsContents.native.minimumSizeHint().width() <= area.viewport().width()
    assert area.horizontalScrollBar().maximum() == 0
    wider.widget.root = None
    wider.widget.cleanup()
    stopFollowing()


def test_there_is_no_dead_space_under_the_segment_editor(panel: Any) -> None:
    layout = panel.editor.layout()
    springs = [layout.itemAt(number).spacerItem() for number in range(layout.count())]
    assert [spring.sizeHint().height() for spring in springs if spring is not None] == [0]


def test_nothing_touches_the_edge(shown: Any) -> None:
    shell = ModulePanel(shown.root, USUAL)
    for name in SECTIONS:
        getattr(shown.ui, f"{name}Section").collapsed = True
    application.processEvents()
    for label in shell.findChildren(QtWidgets.QLabel):
        if label.isVisible() and label.text():
            left = label.mapTo(shell, label.rect().topLeft()).x()
            bottom = label.mapTo(shell, label.rect().bottomLeft()).y()
            assert left >= 4 and bottom <= shell.height() - 4, label.objectName()


def test_names_in_the_ui_file_are_unique() -> None:
    tags = ("widget", "layout", "spacer")
    names = [each.get("name") for each in ElementTree.parse(UI_FILE).iter() if each.tag in tags]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def luminance(color: Any) -> float:
    """Return WCAG 2's relative luminance of (r, g, b), 0 to 255."""
    parts = np.asarray(color, float)[:3] / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(first: Any, second: Any) -> float:
    """Return WCAG 2's contrast ratio, 1 to 21."""
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def pixels(image: Any) -> np.ndarray:
    """(rows, columns, 3)."""
    image = image.convertToFormat(QtGui.QImage.Format_RGB32)
    colors = [[image.pixelColor(x, y) for x in range(image.width())] for y in range(image.height())]
    return np.array([[(color.red(), color.green(), color.blue()) for color in row] for row in colors])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_marks_of_strip_and_legend_can_be_seen(shown: Any, dark: bool) -> None:
    shell = ModulePanel(shown.root, USUAL, dark)
    shown.go(state=State.PREVIEW, review=fakes.review())
    shown.views.current = 15
    shown.wait(10)
    strip = pixels(shown.ui.stripLabel.native.grab().toImage())
    paper = np.array([palette(dark).color(QtGui.QPalette.Window).red()] * 3)
    columns = [round(strip.shape[1] * (index + 0.5) / 40) for index in (10, 3, 35, 15)]
    assert np.abs(strip[0, columns[2]] - paper).max() <= 2, "its background is the panel's"
    assert contrast(strip[1, columns[0]], paper) > 7, "painted"
    assert contrast(strip[4, columns[1]], paper) > 7, "empty"
    assert contrast(strip[-2, columns[2]], paper) > 2.9, "the next slice"
    center = columns[3]
    line = strip[20, center - 4 : center + 5]
    assert max(contrast(line[i], line[i + 1]) for i in range(8)) > 7, "shown now"
    legend = pixels(shown.ui.legendLabel.native.grab().toImage())
    marks = legend.reshape(-1, 3)[np.abs(legend.reshape(-1, 3) - legend[0, 0]).max(1) > 60]
    assert len(marks) and max(contrast(mark, legend[0, 0]) for mark in marks) > 7
    assert shell.isVisible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_of_texts_can_be_read(shown: Any, dark: bool) -> None:
    ModulePanel(shown.root, USUAL, dark)
    odd = PaintedSlice(10, ("s1",), odd_ids=("s1",))
    shown.go(painted=(odd,), machine=fakes.machine(free=500_000_000), settings=Settings(encoder="vit_b"))
    (said,) = [each.text() for each in shown.ui.paintedList.native.findChildren(QtWidgets.QLabel)]
    texts = [said, shown.ui.costLabel.text]
    for level in ("warning", "error"):
        shown.say("said", Message(level, "Something."))
        texts.append(shown.ui.messageLabel.text)
    for text in texts:
        (color,) = re.findall("color:(#.{6})", text)
        for role in (QtGui.QPalette.Window, QtGui.QPalette.Base):
            ground = palette(dark).color(role)
            assert contrast(QtGui.QColor(color).getRgb(), ground.getRgb()) > 4.5, (text, role)


def test_the_strip_follows_a_change_of_style(shown: Any) -> None:
    shell = ModulePanel(shown.root, USUAL)
    shown.go(state=State.PREVIEW, review=fakes.review())
    application.processEvents()
    for dark in (True, False):
        shell.setPalette(palette(dark))
        application.processEvents()
        corner = pixels(shown.ui.stripLabel.native.grab().toImage())[0, -1]
        assert (luminance(corner) < 0.2) == dark
