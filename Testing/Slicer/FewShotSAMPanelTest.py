"""Inside 3D Slicer: what the panel looks like, what it does when idle, and what it says about warped volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
import vtk
from self_test import MODULE, SECTIONS, SelfTestCase

SMALL_SCREEN = (1280, 800)
DARK = "Dark Slicer"


def useStyle(name: str) -> None:
    """Set style and palette, as Slicer's settings do: a style alone does not change the application's colours."""
    slicer.app.setStyle(name)
    slicer.app.setPalette(slicer.app.style().standardPalette())


def isWhollySeen(widget: Any) -> bool:
    """Return whether no part of a widget is scrolled away, collapsed or covered."""
    return bool(widget.visible) and widget.visibleRegion().boundingRect() == widget.rect


class FewShotSAMPanelTest(SelfTestCase):
    """Sizes, idling, style and transforms. Needs no engine."""

    def fold(self, **unfolded: bool) -> None:
        """Collapse or expand sections."""
        for name, isOpen in unfolded.items():
            getattr(self.ui, name).collapsed = not isOpen
        self.letRun(0.2)

    def test_propagate_is_always_in_sight_on_a_small_screen(self) -> None:
        window = slicer.util.mainWindow()
        before = (window.width, window.height)
        window.showNormal()
        window.resize(*SMALL_SCREEN)
        self.addCleanup(lambda: window.resize(*before))
        self.loadPhantom()
        for opened in ((), *((name,) for name in SECTIONS), SECTIONS):
            self.fold(**{name: name in opened for name in SECTIONS})
            self.assertTrue(isWhollySeen(self.ui.propagateButton), f"with {opened} unfolded")

    def test_the_panels_width_does_not_follow_its_sections(self) -> None:
        self.loadPhantom()
        widths = set()
        for opened in ((), *((name,) for name in SECTIONS), SECTIONS):
            self.fold(**{name: name in opened for name in SECTIONS})
            widths.add((self.root.width, slicer.app.layoutManager().sliceWidget("Red").width))
        self.assertEqual(len(widths), 1, widths)

    def test_painting_neither_widens_the_panel_nor_hides_a_part_of_it(self) -> None:
        self.loadPhantom()
        self.letRun(0.5)
        width = self.root.width
        for name in ("Paint", "Draw", "Threshold"):
            self.editor.setActiveEffectByName(name)
            self.letRun(0.3)
            self.waitFor(lambda: self.ui.sectionsArea.horizontalScrollBar().maximum == 0, f"room for {name}")
            self.assertEqual(self.root.width, width, name)

    def test_nothing_runs_while_another_module_is_open(self) -> None:
        self.loadPhantom()
        polls: list[int] = []
        poll = self.session.poll
        self.session.poll = lambda: polls.append(1) or poll()
        self.letRun(0.5)
        self.assertGreater(len(polls), 0)
        slicer.util.selectModule("Welcome")
        self.letRun(0.2)  # one last timer event may be pending
        polls.clear()
        self.letRun(1.0)
        self.assertEqual(len(polls), 0)
        slicer.util.selectModule(MODULE)
        self.letRun(0.5)
        self.assertGreater(len(polls), 0)

    def test_in_dark_style(self) -> None:
        before = str(slicer.app.style().objectName) or "Light Slicer"
        if DARK.lower() not in [str(style).lower() for style in qt.QStyleFactory.keys()]:  # noqa: SIM118 - no dictionary
            self.skipTest("this build has no dark style")
        useStyle(DARK)
        self.addCleanup(useStyle, before)
        self.loadPhantom()
        self.letRun(0.5)
        image = self.root.grab().toImage()
        points = [(x, y) for x in range(4, image.width(), 16) for y in range(4, image.height(), 16)]
        greys = [qt.QColor(image.pixel(x, y)).lightness() for x, y in points]
        self.assertLess(float(np.median(greys)), 128, "the panel has a light background")

    def test_a_bent_volume_is_told_and_hardening_helps(self) -> None:
        """A volume under a grid transform, as Slicer adds to DICOM series with gantry tilt or irregular slices."""
        self.addPhantom()
        grid = vtk.vtkImageData()
        grid.SetDimensions(4, 4, 4)
        grid.SetSpacing(60, 60, 60)
        grid.SetOrigin(-100, -20, -20)
        grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
        slopes = np.linspace(0, 20, 4 * 4 * 4 * 3).reshape(-1, 3)
        vtk.util.numpy_support.vtk_to_numpy(grid.GetPointData().GetScalars())[:] = slopes
        displacement = slicer.vtkOrientedGridTransform()
        displacement.SetDisplacementGridData(grid)
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Acquisition")
        transform.SetAndObserveTransformFromParent(displacement)
        self.volume.SetAndObserveTransformNodeID(transform.GetID())
        before = self.troubleInLog()
        self.ui.volumeSelector.setCurrentNode(None)
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.letRun(1.0)
        shown = f"{self.ui.tiltLabel.text} {self.ui.messageLabel.text} {self.widget.panel.services.whyNot()}"
        self.assertIn("arden", shown)
        self.assertEqual(self.troubleInLog()[len(before) :], [], "it is polled in vain")
        slicer.modules.transforms.logic().hardenTransform(self.volume)
        self.chooseVolume()
        shape = slicer.util.arrayFromVolume(self.volume).shape
        painted = np.zeros(shape, np.uint8)
        painted[8, 20:40, 20:40] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, self.segmentation, self.segmentId, self.volume)
        self.waitFor(lambda: [each.index for each in self.session.painted] == [8], "finding the painted slice")
