"""The pictures of docs/tutorial.md: the panel and the views beside it while the tutorial is gone through.

FEWSHOTSAM_TUTORIAL names the folder that they are written to; without it there is nothing to do.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from harness import application
from harness.binding import QtCore, QtGui
from harness.scene import paint
from harness.views import SliceView, SurfaceView
from journey import Journey

from FewShotSAMLib.core.painting import empty_neighbours, slices_to_paint
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.worker import WorkerClient
from FewShotSAMLib.workflow import State

NAMES = ("liver", "spleen")
PANEL, VIEW, BAR, GAP = 444, 385, 20, 3
BACKGROUND = "#2b2b2b"
WINDOW = (-120.0, 220.0)
MOST_BYTES = 200_000
# Slicer's four views and the colours of their bars.
VIEWS = (("R", "Axial", "#f34a33"), ("1", "3D", "#7a7fd0"), ("G", "Coronal", "#6eb04b"), ("Y", "Sagittal", "#edd54c"))
NODES = {"Axial": "Red", "Coronal": "Green", "Sagittal": "Yellow"}


class Tour(Journey):
    """A journey on the phantom with four views, of which pictures are taken."""

    def __init__(self, folder: Path, workerPython: str, pictures: Path) -> None:
        super().__init__(folder, WorkerClient(workerPython))
        self._pictures = pictures
        volume, labels = ct_phantom()
        segments = {segment.name: segment for segment in labels.segments}
        self.truth = [labels.mask(segments[name]) for name in NAMES]
        self.open(volume.geometry, volume.voxels, "CT abdomen")
        self._display()
        segmentation = self.segmentation.GetSegmentation()
        segmentation.AddEmptySegment("spleen")
        for number, name in enumerate(NAMES):
            segmentation.GetNthSegment(number).SetName(name)
            segmentation.GetNthSegment(number).SetColor(*segments[name].color)
        scene = slicer.mrmlScene
        scene.logics = (application.parts["logic"], application.parts["segmentations"])
        self.views = {each: SliceView(scene, VIEW, NODES[each], each, with_volume=True) for each in NODES}
        for view in self.views.values():
            view.look_at(self.volume, 0.0)
        self.surfaces = SurfaceView(VIEW)

    def _display(self) -> None:
        grey = slicer.vtkMRMLColorTableNode()
        grey.SetTypeToGrey()
        slicer.mrmlScene.AddNode(grey)
        display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
        display.SetAndObserveColorNodeID(grey.GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*WINDOW)
        self.volume.SetAndObserveDisplayNodeID(display.GetID())

    def lookAt(self, index: int) -> None:
        """The axial view on a slice, the others on the middle of liver and spleen."""
        for axis, place in ((0, index), (1, 82), (2, 66)):
            self.widget.panel.services.views.jumpTo(self.volume.GetID(), axis, place)
        self.rest(0.5)

    def take(self, name: str, *unfolded: str, surfaceOf: Any = None) -> None:
        """Compose panel and views into one picture. unfolded: the sections that are to be seen; none for all as is."""
        for section in ("inputs", "painted", "review", "models", "export", "advanced"):
            if unfolded:
                getattr(self.ui, f"{section}Section").collapsed = section not in unfolded
        self.rest(0.6)
        root = self.widget.parent.native
        height = 2 * (VIEW + BAR) + GAP
        whole = [self.ui.sectionsContents.native, self.ui.runStrip.native]
        wanted = sum(max(each.sizeHint().height(), each.layout().totalHeightForWidth(PANEL)) for each in whole)
        root.resize(PANEL, max(height, wanted))
        self.rest(1.0)
        panel = root.grab().toImage()
        picture = QtGui.QImage(PANEL + 2 * (VIEW + GAP), max(height, panel.height()), QtGui.QImage.Format_RGB32)
        picture.fill(QtGui.QColor(BACKGROUND))
        painter = QtGui.QPainter(picture)
        painter.drawImage(0, 0, panel)
        for number, (letter, title, color) in enumerate(VIEWS):
            left, top = PANEL + GAP + (number % 2) * (VIEW + GAP), (number // 2) * (VIEW + BAR + GAP)
            pixels = self.surfaces.picture(surfaceOf) if title == "3D" else self.views[title].picture()
            painter.fillRect(left, top, VIEW, BAR, QtGui.QColor(color))
            painter.setPen(QtGui.QColor("black"))
            painter.drawText(QtCore.QRect(left + 6, top, VIEW, BAR), QtCore.Qt.AlignVCenter, f"{letter}   {title}")
            painter.drawImage(left, top + BAR, toImage(pixels, 0xF8 if title == "3D" else 0xF0))
        painter.end()
        path = self._pictures / f"{name}.png"
        assert picture.save(str(path), "PNG", 0)
        assert path.stat().st_size <= MOST_BYTES, (name, path.stat().st_size)


def toImage(pixels: np.ndarray, mask: int) -> Any:
    """(rows, columns, 3) uint8, first row at the bottom; bits outside `mask`, noise of a CT, are dropped to save
    space."""
    upright = np.ascontiguousarray(pixels[::-1] & mask)
    rows, columns = upright.shape[:2]
    return QtGui.QImage(upright.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()


@pytest.fixture
def tour(tmp_path: Path, worker_python: str) -> Iterator[Tour]:
    folder = os.environ.get("FEWSHOTSAM_TUTORIAL")
    if not folder:
        pytest.skip("no pictures are wanted (FEWSHOTSAM_TUTORIAL)")
    made = Tour(tmp_path / "models", worker_python, Path(folder))
    yield made
    made.close()


def preview() -> Any:
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return next(node for node in nodes if node.GetName().startswith("FewShotSAM preview"))


def test_tutorial(tour: Tour) -> None:
    painted = slices_to_paint(tour.truth[0] | tour.truth[1], 0, 3)
    for number, mask in enumerate(tour.truth):
        tour.paint(mask, 0, painted, number)
    for index in empty_neighbours(tour.truth[0] | tour.truth[1], 0):
        tour.lookAt(index)
        tour.press("emptySliceButton")
    tour.until(lambda: tour.session.machine is not None)
    tour.lookAt(painted[1])
    tour.take("tutorial-1-paint", "inputs", "painted")

    tour.start()
    tour.until(lambda: "predict" in tour.stages and tour.session.preview is not None)
    tour.until(lambda: tour.session.state is State.PREVIEW or tour.ui.progressBar.value > 400)
    tour.lookAt(painted[1] - 8)
    tour.take("tutorial-2-run")
    tour.until(lambda: tour.session.state is State.PREVIEW, 200)
    tour.ui.show3DButton.setChecked(True)
    tour.lookAt(painted[1] + 8)
    tour.take("panel", "review", surfaceOf=preview())

    tour.press("applyButton")
    tour.segmentation.CreateClosedSurfaceRepresentation()
    tour.until(lambda: tour.ui.nextSliceButton.enabled)
    following = tour.session.next_slice()
    tour.press("nextSliceButton")
    tour.lookAt(following)
    corrected = tour.voxels()
    corrected[following] = tour.truth[0][following]
    paint(tour.segmentation, tour.segmentIds()[0], corrected, tour.geometry)
    tour.until(lambda: following in [each.index for each in tour.session.painted])
    tour.take("tutorial-4-correct", "painted", "review", surfaceOf=tour.segmentation)
    tour.press("againButton")
    tour.until(lambda: tour.session.state is State.PREVIEW, 200)
    tour.press("applyButton")
    tour.dialogs.answer = "liver and spleen, CT"
    tour.ui.saveModelButton.click()
    tour.take("tutorial-5-keep", "models", "export", surfaceOf=tour.segmentation)
