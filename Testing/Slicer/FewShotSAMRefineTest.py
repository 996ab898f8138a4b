"""Inside 3D Slicer: what is known of each segment, the first answer, corrections, several volumes, and recovery."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from self_test import EMPTY, PAINTED, SelfTestCase, dice

MODEL = "FewShotSAM self-test"


class FewShotSAMKnownTest(SelfTestCase):
    """What the panel says about the volume and each segment on each slice; recovery after a crash. Needs no engine."""

    def marks(self, index: int) -> str:
        """Return what the list of painted slices says about a slice's segments."""
        items = [self.ui.paintedList.topLevelItem(row) for row in range(self.ui.paintedList.topLevelItemCount)]
        (item,) = [item for item in items if item.text(0).endswith(f" {index}")]
        return str(self.ui.paintedList.itemWidget(item, 1).text)

    def addOther(self, truth: np.ndarray, indices: Any) -> str:
        """Add a second segment, painted on other slices than the first; return its id."""
        other = self.segmentation.GetSegmentation().AddEmptySegment("", "Other")
        painted = np.zeros(truth.shape, np.uint8)
        painted[list(indices), 2:12, 2:12] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, self.segmentation, other, self.volume)
        return str(other)

    def test_what_was_understood_of_the_volume_is_told(self) -> None:
        self.loadPhantom()
        self.waitFor(lambda: "80" in self.ui.factsLabel.text, "the facts of the volume")
        self.waitFor(lambda: "Ellipsoid" in self.ui.factsLabel.toolTip, "the facts of the segmentation")

    def test_each_slice_tells_what_is_known_of_each_segment(self) -> None:
        truth = self.loadPhantom()
        other = self.addOther(truth, (6, 18))
        self.waitFor(lambda: "Other ?" in self.marks(12), "the mark of what is looked for")
        self.assertNotIn("?", self.marks(6))
        self.widget.panel.services.views.jumpTo(self.volume.GetID(), 0, 12)
        self.waitFor(lambda: "Other" in self.ui.absentLabel.text, "the line below the list")
        self.ui.absentLabel.linkActivated(other)  # a click on it
        self.waitFor(lambda: "none of" in self.marks(12), "the mark of what is not there")

    def test_every_line_of_a_row_is_seen(self) -> None:
        truth = self.loadPhantom()
        for _number in range(5):
            self.addOther(truth, (6, 18))
        self.waitFor(lambda: self.marks(12).count("?") == 5, "five segments to look for")
        self.letRun(0.3)
        items = [self.ui.paintedList.topLevelItem(row) for row in range(self.ui.paintedList.topLevelItemCount)]
        for label in (self.ui.paintedList.itemWidget(item, 1) for item in items):
            self.assertGreaterEqual(label.height, label.sizeHint.height(), label.text)

    def test_the_strip_is_as_high_as_its_message(self) -> None:
        from FewShotSAMLib.workflow import Message

        slicer.util.mainWindow().resize(1280, 800)  # its size is arbitrary without a window manager
        self.loadPhantom()
        show = self.widget.panel._messages.show
        for words in (5, 60, 20, 5, 90, 5):
            show(Message("info", "word " * words))
            strip, label = self.ui.runStrip, self.ui.messageLabel
            self.letRun(0.5)
            self.assertEqual(strip.height, strip.heightForWidth(strip.width), words)
            self.assertGreaterEqual(label.height, label.heightForWidth(label.width), words)

    def test_what_a_slicer_that_crashed_left_is_brought_back(self) -> None:
        self.useFreshTemporaryFolder()
        truth = self.loadPhantom()
        painted = self.segmentArray()
        self.letRun(1.0)
        self.waitFor(lambda: self.session.kept.is_kept, "keeping what is painted")
        left = self.crash()
        self.waitFor(lambda: self.ui.recoveryFrame.visible, "the offer")
        self.assertIn("Phantom Ä", self.ui.recoveryLabel.text)
        np.testing.assert_array_equal(self.loadPhantom(paint=False), truth)
        self.ui.restoreWorkButton.click()
        self.waitFor(lambda: len(self.session.painted) == len(PAINTED) + len(EMPTY), "the painted slices")
        self.assertFalse(self.ui.recoveryFrame.visible)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 1, "an empty one is left")
        self.segmentId = self.segmentation.GetSegmentation().GetNthSegmentID(0)
        np.testing.assert_array_equal(self.segmentArray(), painted)
        self.letRun(1.0)
        self.waitFor(lambda: self.session.kept.is_kept and not left.exists(), "keeping it here instead of there")


class FewShotSAMRefineTest(SelfTestCase):
    """From the first answer to the last correction, with the real background process. Needs its packages."""

    def setUp(self) -> None:
        self.needEngine()
        super().setUp()

    def test_the_first_answer_is_taken(self) -> None:
        truth = self.loadPhantom()
        self.ui.propagateButton.click()
        self.waitFor(lambda: self.ui.firstAnswerButton.visible, "learning", seconds=300)
        self.assertIsNotNone(self.session.preview)
        self.ui.firstAnswerButton.click()
        self.waitFor(lambda: self.state == "preview", "the first answer", seconds=60)
        self.assertFalse(self.ui.firstAnswerButton.visible)
        self.apply()
        self.assertGreater(dice(self.segmentArray(), truth), 0.8)

    def test_a_correction_changes_what_lies_beside_it_and_all_can_be_propagated_again(self) -> None:
        before = self.troubleInLog()
        truth = self.loadPhantom()
        self.propagateAndApply()
        self.assertFalse(self.ui.wholeButton.visible)
        applied = self.segmentArray()
        corrected = applied.copy()
        corrected[9] = truth[9]
        corrected[9, 38:42, 38:42] = 0  # so that the slice changes in any case
        slicer.util.updateSegmentBinaryLabelmapFromArray(corrected, self.segmentation, self.segmentId, self.volume)
        self.waitFor(lambda: 9 in [each.index for each in self.session.painted], "the corrected slice")
        after = self.propagateAndApply()
        far = [index for index in range(len(truth)) if not PAINTED[0] < index < PAINTED[1]]
        np.testing.assert_array_equal(after[far], applied[far])
        np.testing.assert_array_equal(after[9], corrected[9])
        self.assertTrue(self.ui.wholeButton.visible)
        self.ui.wholeButton.click()
        self.waitFor(lambda: self.state == "preview", "the whole volume", seconds=300)
        self.assertFalse(self.ui.wholeButton.visible)
        self.apply()
        self.assertGreater(dice(self.segmentArray(), truth), 0.85)
        self.assertEqual(self.troubleInLog()[len(before) :], [])

    def test_a_model_is_applied_to_several_volumes_and_a_table_tells_how_they_went(self) -> None:
        truth = self.loadPhantom()
        self.propagateAndApply()
        models = self.session.models
        self.addCleanup(lambda: [models.delete(each) for each in models.entries() if each.name == MODEL])
        self.session.save_model(MODEL)
        entry = next(each for each in models.entries() if each.name == MODEL)
        others = []
        for name in ("First", "Second"):
            self.addPhantom(name)
            others.append(self.volume.GetID())
        self.assertFalse(self.ui.showTableButton.isVisibleTo(self.root))
        self.session.apply_model(entry, others)
        self.waitFor(lambda: self.state == "idle", "applying", seconds=300)
        self.ui.modelsSection.collapsed = False
        self.letRun(0.3)
        self.assertTrue(self.ui.showTableButton.visible)
        self.assertIn("Second", self.session.applied.page.read_text(encoding="utf-8"))
        made = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        self.assertEqual(len(made), 3)
        self.assertGreater(dice(self.segmentArray(made[-1]), truth), 0.8)
