"""Pictures of the panel in each state, as Slicer's module panel shows it: nothing is cut off, the strip is visible."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest
from harness.binding import NAME, QtWidgets
from harness.module_panel import SMALL, USUAL, ModulePanel

from FewShotSAMLib.workflow import Message, PaintedSlice, Progress, State

SCREENSHOTS = os.environ.get("FEWSHOTSAM_SCREENSHOTS")
"""Folder in which pictures of the panel are wanted."""


def unfold(panel: Any, *sections: str) -> None:
    """Expand these, and collapse what comes before them."""
    for name in ("inputs", "painted", "review", *sections):
        getattr(panel.ui, f"{name}Section").collapsed = name not in sections


def start(panel: Any) -> None:
    panel.dependencies.text = "PyTorch is missing. Press Install; about 200 MB are downloaded."
    panel.widget.enter()
    panel.session.reason = "Choose a volume first."


def paint(panel: Any) -> None:
    panel.go(axis=0, painted=fakes.painted(10, 20, 30, empty=(3, 38)), machine=fakes.machine())


def apart(panel: Any) -> None:
    """Structures on different slices: searched for, declared absent, suspiciously small."""
    panel.scene.named = {
        "s1": ("liver", (0.9, 0.4, 0.3)),
        "s2": ("hepatocellular carcinoma, segment VIII", (0.2, 0.6, 0.9)),
        "s3": ("portal vein and splenic vein", (0.95, 0.85, 0.2)),
        "s4": ("left adrenal gland", (0.2, 0.7, 0.4)),
    }
    rows = (
        PaintedSlice(10, ("s1", "s2"), unknown_ids=("s3", "s4")),
        PaintedSlice(12, ("s1", "s3"), odd_ids=("s3",), absent_ids=("s4",), unknown_ids=("s2",)),
        PaintedSlice(20, ("s2", "s4"), ticked=False, unknown_ids=("s1",)),
        PaintedSlice(38, (), empty=True),
    )
    panel.go(axis=0, painted=rows, machine=fakes.machine())


def earlier(panel: Any) -> None:
    """One painted slice, and earlier patients: ticked, of no use, missing."""
    for name in ("liver 2025-11", "liver and hepatic veins of a patient with a very long name of the model", "spleen"):
        panel.session.models.put(name)
    held = panel.session.models.held
    held[2] = replace(held[2], images=0)
    panel.session.earlier = ("liver 2025-11", "lost")
    panel.go(axis=0, painted=fakes.painted(20), machine=fakes.machine())
    panel.ui.inputsSection.collapsed = True


def running(panel: Any) -> None:
    paint(panel)
    panel.go(state=State.PREPARING)
    panel.go(state=State.RUNNING, preview=fakes.FakePreview())


def learning(panel: Any) -> None:
    running(panel)
    panel.say("progressed", Progress("learn", "Learning this volume, step 120 of 300", 0.4, 3725.0))


def run(panel: Any) -> None:
    running(panel)
    panel.say("progressed", Progress("predict", "Predicting slices, 34 of 112", 0.3, 75.0))
    panel.ui.logSection.collapsed = False
    panel.say("logged", "encoder tiny on cpu")


def preview(panel: Any) -> None:
    paint(panel)
    panel.go(state=State.PREPARING)
    panel.go(state=State.PREVIEW, preview=fakes.FakePreview(), review=fakes.review())


def review(panel: Any) -> None:
    preview(panel)
    told = "The few-shot model “liver 2025-11” was used; Dice with what is painted: liver 0.91."
    panel.go(state=State.IDLE, preview=None, review=replace(fakes.review(), earlier=(told,)), learned_model="x.fewshot")


def failure(panel: Any) -> None:
    paint(panel)
    hint = "Close other programs, choose a smaller encoder under Advanced, or predict fewer slices."
    panel.say("said", Message("error", "The GPU has no memory left.", hint, "torch.OutOfMemoryError"))


def models(panel: Any) -> None:
    for name in ("liver CT", "spleen and kidneys of the MR cohort"):
        panel.session.models.put(name)
    panel.go(axis=0, review=fakes.review())
    unfold(panel, "models", "export")
    panel.ui.modelList.topLevelItem(0).setSelected(True)


def advanced(panel: Any) -> None:
    panel.go(axis=0, machine=fakes.machine(), settings=replace(panel.session.settings, encoder="vit_b"))
    unfold(panel, "advanced")


STATES = (start, paint, apart, earlier, learning, run, preview, review, failure, models, advanced)


@pytest.mark.parametrize(("height", "dark"), [(SMALL, False), (USUAL, True)], ids=["small-light", "usual-dark"])
@pytest.mark.parametrize("prepare", STATES, ids=lambda prepare: prepare.__name__)
def test_panel_fits(panel: Any, ct: Any, prepare: Any, height: int, dark: bool) -> None:
    panel.ui.volumeSelector.setCurrentNodeID(ct.volume.GetID())
    shell = ModulePanel(panel.root, height, dark)
    panel.wait(1)  # the first tick fixes the width for good
    width = shell.narrowest()
    shell.resize(width, height)
    panel.waitForFacts()
    prepare(panel)
    panel.wait(24)
    if SCREENSHOTS:
        path = Path(SCREENSHOTS, NAME, f"{prepare.__name__}-{height}-{'dark' if dark else 'light'}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        assert shell.grab().save(str(path))
    assert shell.narrowest() == width, "the slice views would jump"
    assert not shell.scrolls() and shell.sees(panel.ui.runStrip) and shell.sees(panel.ui.propagateButton)
    contents = panel.ui.sectionsContents.native
    assert contents.minimumSizeHint().width() <= panel.ui.sectionsArea.native.viewport().width()
    cut = [_described(button) for button in panel.root.native.findChildren(QtWidgets.QPushButton) if _isCut(button)]
    assert cut == []
    rows = [label for label in panel.ui.paintedList.native.findChildren(QtWidgets.QLabel) if label.isVisible()]
    assert [label.text() for label in rows if label.width() < label.sizeHint().width()] == []
    line = panel.ui.factsLabel.native
    assert line.text() and (not line.isVisible() or line.height() >= line.heightForWidth(line.width()))


def _isCut(button: Any) -> bool:
    return button.isVisible() and button.width() < button.minimumSizeHint().width()


def _described(button: Any) -> str:
    return f"{button.objectName()} “{button.text()}”: {button.width()} of {button.minimumSizeHint().width()}"
