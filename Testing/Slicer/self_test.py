"""What the self-tests share. They only run inside 3D Slicer: see README.md in this folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

MODULE = "FewShotSAM"
SECTIONS = ("inputsSection", "paintedSection", "reviewSection", "modelsSection", "exportSection", "advancedSection")
PAINTED = (6, 12, 18)
EMPTY = (1, 23)
SHAPE = (25, 80, 80)
_LEVEL_COLUMN = 2  # of ctkErrorLogAbstractModel: time, thread, level, origin, description
_TROUBLE = {"Warning", "Error", "Critical", "Fatal"}


class SelfTestCase(unittest.TestCase):
    """Opens the module in an empty scene for each test."""

    def setUp(self) -> None:
        """Clear the scene and open the panel."""
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule(MODULE)
        self.useWidget()

    def useWidget(self) -> None:
        """Look up the parts of the current panel; to be repeated after a reload."""
        self.widget: Any = slicer.util.getModuleWidget(MODULE)
        # The last one: Slicer only hides what a reload replaces, and an older panel may still be among the children.
        self.root: Any = [child for child in self.widget.parent.children() if child.name == MODULE][-1]
        self.ui: Any = slicer.util.childWidgetVariables(self.root)
        self.session: Any = self.widget.panel.services.session
        self.editor: Any = slicer.util.findChildren(self.root, className="qMRMLSegmentEditorWidget")[0]

    @property
    def state(self) -> str:
        """The session's state, by value, as each reload of the module defines a new class State."""
        return str(self.session.state.value)

    def tearDown(self) -> None:
        """Leave nothing behind for the next test."""
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("Welcome")

    def waitFor(self, condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Let Slicer's event loop run until the condition holds; fail after `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"{what} did not happen within {seconds:.0f} s; the panel says: {self.ui.messageLabel.text}")
            slicer.app.processEvents()
            time.sleep(0.01)

    def letRun(self, seconds: float) -> None:
        """Let Slicer's event loop run for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.01)

    def useFreshTemporaryFolder(self) -> None:
        """Reopen the panel with an empty temporary folder, so that a test does not find what an earlier crash left."""
        before, folder = slicer.app.temporaryPath, tempfile.mkdtemp(prefix="FewShotSAM-self-test-")

        def goBack() -> None:
            slicer.app.temporaryPath = before
            slicer.util.getModuleWidget(MODULE).onReload()
            shutil.rmtree(folder, ignore_errors=True)

        self.addCleanup(goBack)
        slicer.app.temporaryPath = folder
        self.widget.onReload()
        self.useWidget()

    def needEngine(self) -> None:
        """Skip the test if Slicer's Python lacks the engine's packages; fail if FEWSHOTSAM_REQUIRE_ENGINE is set."""
        from FewShotSAMLib.widgets.dependencies import Dependencies

        status = Dependencies().status()
        if status and os.environ.get("FEWSHOTSAM_REQUIRE_ENGINE"):
            self.fail(status)
        if status:
            self.skipTest(status)

    def troubleInLog(self) -> list[str]:
        """Return the warnings and errors in Slicer's error log."""
        slicer.app.processEvents()
        model = slicer.app.errorLogModel()
        levels = [str(model.data(model.index(row, _LEVEL_COLUMN))) for row in range(model.rowCount())]
        return [f"{level}: {model.logEntryDescription(row)}" for row, level in enumerate(levels) if level in _TROUBLE]

    def addPhantom(self, name: str = "Phantom Ä") -> np.ndarray:
        """Add a bright ellipsoid in noise to the scene as `self.volume`; return the truth, (k, j, i) bool."""
        axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
        truth = (axes[0] / 0.85) ** 2 + (axes[1] / 0.5) ** 2 + (axes[2] / 0.65) ** 2 < 1
        noise = np.random.default_rng(3).normal(0, 15, SHAPE)
        voxels = (np.where(truth, 120, -60) + noise).astype(np.int16)
        # Thick slices and tilted patient axes, as scans have; an identity matrix would hide errors.
        directions = np.array([[0.8, -0.96, 0, -30], [0.6, 1.28, 0, 12], [0, 0, 2.5, 5], [0, 0, 0, 1]])
        self.volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=directions, name=name)
        return truth

    def addSegmentation(self) -> None:
        """Add a segmentation of the volume with one empty segment to the scene, as the Segment Editor creates it.

        Sets `self.segmentation` and `self.segmentId`.
        """
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Painted")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.segmentId = self.segmentation.GetSegmentation().AddEmptySegment("", "Ellipsoid")

    def paint(self, truth: np.ndarray) -> None:
        """Paint the truth on three slices."""
        painted = np.zeros(SHAPE, np.uint8)
        painted[list(PAINTED)] = truth[list(PAINTED)]
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, self.segmentation, self.segmentId, self.volume)

    def loadPhantom(self, paint: bool = True) -> np.ndarray:
        """Add a phantom and its segmentation, select both in the panel, paint three slices; return the truth."""
        truth = self.addPhantom()
        self.addSegmentation()
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.ui.segmentationSelector.setCurrentNode(self.segmentation)
        if paint:
            self.paint(truth)
            self.waitFor(lambda: len(self.session.painted) == len(PAINTED), "finding the painted slices")
            for index in EMPTY:
                self.session.set_empty(index, True)
        return truth

    def chooseVolume(self) -> None:
        """Select the volume in the panel, which creates `self.segmentation` for it."""
        self.ui.volumeSelector.setCurrentNode(None)
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.waitFor(lambda: self.ui.segmentationSelector.currentNode() is not None, "a segmentation")
        self.segmentation = self.ui.segmentationSelector.currentNode()
        self.segmentId = self.segmentation.GetSegmentation().GetNthSegmentID(0)

    def crash(self) -> Path:
        """Simulate a crash of Slicer, as far as the panel can tell; return the folder that it leaves behind."""
        left = Path(f"{self.session.scratch}-crashed")
        shutil.copytree(self.session.scratch / "autosave", left / "autosave")
        left.with_name(left.name + ".lock").touch()  # no process holds this lock
        slicer.mrmlScene.Clear(0)
        self.widget.onReload()
        self.useWidget()
        return left

    def segmentArray(self, node: Any = None) -> np.ndarray:
        """Return the segment on the volume's grid, (k, j, i) uint8. Slicer adds a display node to the scene for it."""
        node = node or self.segmentation
        segmentId = self.segmentId if node is self.segmentation else node.GetSegmentation().GetNthSegmentID(0)
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, self.volume).copy()

    def propagate(self) -> None:
        """Press Propagate and wait for the preview."""
        self.assertEqual(self.session.why_not(), "")
        self.ui.propagateButton.click()
        self.assertNotEqual(self.state, "idle")
        self.waitFor(lambda: self.state == "preview", "the preview", seconds=300)

    def startRun(self) -> None:
        """Press Propagate and wait until the background process is working."""
        self.ui.propagateButton.click()
        self.waitFor(lambda: self.state == "running", "the run", seconds=60)

    def propagateAndApply(self) -> np.ndarray:
        """Press Propagate, wait, press Apply; return the segment as it is then."""
        self.propagate()
        self.apply()
        return self.segmentArray()

    def apply(self) -> None:
        """Press Apply and wait until it is done."""
        self.ui.applyButton.click()
        self.waitFor(lambda: self.state == "idle", "applying")


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Dice overlap of two masks, 0 to 1."""
    return 2 * np.logical_and(first, second).sum() / (first.astype(bool).sum() + second.astype(bool).sum())
