"""Takes the pictures of docs/tutorial.md and README in 3D Slicer itself while following the tutorial.

    FEWSHOTSAM_TUTORIAL=Resources/Screenshots Slicer --testing --no-splash \
        --additional-module-paths "$PWD/FewShotSAM" --python-script Testing/Slicer/tutorial_pictures.py

The volume is a synthetic phantom. Needs the engine in Slicer's Python.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from self_test import SECTIONS, SelfTestCase

NAMES = ("liver", "spleen")
MODEL = "liver and spleen, CT"
PAINTED, SIZE = 3, (1280, 800)


class Tour(SelfTestCase):
    """Follows the tutorial and takes pictures of the main window."""

    def runTest(self) -> None:
        """Perform all steps of docs/tutorial.md."""
        self.needEngine()
        self.pictures = Path(os.environ["FEWSHOTSAM_TUTORIAL"])
        self.useFreshTemporaryFolder()
        self.openPhantom()
        self.take("tutorial-1-open", "inputsSection", "paintedSection")
        self.paintSlices()
        self.take("tutorial-2-paint", "inputsSection", "paintedSection")
        self.take("tutorial-3-painted", "paintedSection")
        self.ui.propagateButton.click()
        self.waitFor(lambda: self.ui.firstAnswerButton.visible, "the first answer", 300)
        self.take("tutorial-4-run", "paintedSection")
        self.waitFor(lambda: self.state == "preview", "the preview", 300)
        self.ui.show3DButton.setChecked(True)
        slicer.app.layoutManager().threeDWidget(0).threeDView().resetFocalPoint()
        self.lookAt(self.painted[1] + 8)
        self.take("panel", "reviewSection")
        self.apply()
        self.correct()
        self.take("tutorial-5-correct", "paintedSection", "reviewSection")
        self.propagate()
        self.apply()
        self.take("tutorial-6-again", "reviewSection")
        self.keep()
        self.take("tutorial-7-keep", "modelsSection", "exportSection")
        self.letRun(5.0)  # the last change may take this long to be saved
        self.crash()
        self.openPhantom()
        self.take("tutorial-8-recovery", "inputsSection")

    def openPhantom(self) -> None:
        """Open a CT of liver and spleen, with a window suitable for it, in the panel."""
        from FewShotSAMLib.core.painting import empty_neighbours, slices_to_paint
        from FewShotSAMLib.core.phantom import ct_phantom
        from FewShotSAMLib.mrml.grids import rasMatrix

        volume, labels = ct_phantom()
        known = {segment.name: segment for segment in labels.segments}
        self.colors = [known[name].color for name in NAMES]
        self.truth = [labels.mask(known[name]) for name in NAMES]
        whole = self.truth[0] | self.truth[1]
        self.painted, self.empty = slices_to_paint(whole, 0, PAINTED), empty_neighbours(whole, 0)
        self.volume = slicer.util.addVolumeFromArray(
            volume.voxels, ijkToRAS=rasMatrix(volume.geometry), name="CT abdomen"
        )
        self.volume.GetDisplayNode().SetAutoWindowLevel(False)
        self.volume.GetDisplayNode().SetWindowLevelMinMax(-120, 220)
        slicer.util.setSliceViewerLayers(background=self.volume, fit=True)
        self.chooseVolume()
        self.waitFor(lambda: "Looking" not in self.session.why_not(), "looking for painted slices")
        self.lookAt(self.painted[1])

    def paintSlices(self) -> None:
        """Paint liver and spleen, each near its ends and on a slice that shows both; declare those beyond empty."""
        from FewShotSAMLib.core.painting import slices_to_paint

        segments = self.segmentation.GetSegmentation()
        while segments.GetNumberOfSegments() < len(NAMES):
            segments.AddEmptySegment()
        for number, (name, color) in enumerate(zip(NAMES, self.colors, strict=True)):
            segments.GetNthSegment(number).SetName(name)
            segments.GetNthSegment(number).SetColor(*color)
            first, _middle, last = slices_to_paint(self.truth[number], 0, PAINTED)
            self.put(number, [first, self.painted[1], last])
        self.waitFor(lambda: len(self.session.painted) == 2 * PAINTED - 1, "finding the painted slices")
        for index in self.empty:
            self.lookAt(index)
            self.ui.emptySliceButton.click()
        self.lookAt(self.painted[1])

    def put(self, number: int, indices: Any) -> None:
        """Paint a segment from the truth on some slices; leave the others as they are."""
        segment = self.segmentation.GetSegmentation().GetNthSegmentID(number)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segment, self.volume)
        voxels = np.zeros(self.truth[0].shape, np.uint8) if voxels is None else voxels.copy()
        voxels[list(indices)] = self.truth[number][list(indices)]
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.segmentation, segment, self.volume)

    def correct(self) -> None:
        """Go to the slice that helps most and complete it."""
        following = self.session.next_slice()
        self.ui.nextSliceButton.click()
        for number in range(len(NAMES)):
            self.put(number, [following])
        self.waitFor(lambda: following in [each.index for each in self.session.painted], "the corrected slice")
        self.segmentation.CreateClosedSurfaceRepresentation()  # writing arrays has removed it
        self.lookAt(following)

    def keep(self) -> None:
        """Save a few-shot model, so that it appears in the list."""
        models = self.session.models
        for entry in [each for each in models.entries() if each.name == MODEL]:  # of an earlier tour
            models.delete(entry)
        self.session.save_model(MODEL)
        self.ui.closeMessageButton.click()
        self.letRun(1.0)

    def lookAt(self, index: int) -> None:
        """Show a slice in the axial view, and the middle of liver and spleen in the other views."""
        for axis, place in ((0, index), (1, 82), (2, 66)):
            self.widget.panel.services.views.jumpTo(self.volume.GetID(), axis, place)
        self.letRun(0.5)

    def take(self, name: str, *unfolded: str) -> None:
        """Save a picture of the main window with these sections expanded."""
        window = slicer.util.mainWindow()
        window.resize(*SIZE)
        for section in SECTIONS:
            getattr(self.ui, section).collapsed = section not in unfolded
        self.letRun(1.0)
        slicer.util.forceRenderAllViews()
        path = self.pictures / f"{name}.png"
        self.assertTrue(window.grab().save(str(path)))
        lighten(path)


def lighten(path: Path) -> None:
    """Clear the lowest three bits of each colour: invisible noise that would enlarge the repository."""
    reader, image, writer = vtk.vtkPNGReader(), vtk.vtkImageData(), vtk.vtkPNGWriter()
    reader.SetFileName(str(path))
    reader.Update()
    image.DeepCopy(reader.GetOutput())
    vtk_to_numpy(image.GetPointData().GetScalars())[:] &= 0xF8
    writer.SetInputData(image)
    writer.SetCompressionLevel(9)
    writer.SetFileName(str(path))
    writer.Write()


try:
    tour = Tour()
    tour.setUp()
    tour.runTest()
    tour.doCleanups()
    code = slicer.util.EXIT_SUCCESS
except Exception:  # noqa: BLE001 - otherwise Slicer would stay open
    traceback.print_exc()
    code = slicer.util.EXIT_FAILURE
slicer.util.exit(code)
