"""Inside 3D Slicer: paint, Propagate, preview, Apply, Undo, export, and interruptions of these steps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import slicer
from self_test import EMPTY, PAINTED, SelfTestCase, dice


class FewShotSAMPaintingTest(SelfTestCase):
    """Slicer's own effects, used with the mouse in the embedded Segment Editor."""

    def test_a_stroke_of_the_mouse_makes_a_painted_slice(self) -> None:
        self.loadPhantom(paint=False)
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        slicer.util.setSliceViewerLayers(background=self.volume, fit=True)
        slice_widget = slicer.app.layoutManager().sliceWidget("Red")
        slice_widget.sliceController().rotateSliceToLowestVolumeAxes()
        editor = self.editor
        editor.setCurrentSegmentID(self.segmentId)
        editor.setActiveEffectByName("Paint")
        self.assertEqual(editor.activeEffect().name, "Paint")
        slicer.app.processEvents()
        middle = (slice_widget.sliceView().width // 2, slice_widget.sliceView().height // 2)
        slicer.util.clickAndDrag(slice_widget, start=middle, end=(middle[0] + 20, middle[1]))
        self.assertGreater(self.segmentArray().sum(), 0)
        self.waitFor(lambda: len(self.session.painted) == 1, "finding the painted slice")
        editor.undo()
        self.assertEqual(self.segmentArray().sum(), 0)
        self.waitFor(lambda: not self.session.painted, "forgetting the painted slice")


class FewShotSAMPropagationTest(SelfTestCase):
    """The whole workflow with the real background process. Needs its packages in Slicer's Python."""

    def setUp(self) -> None:
        self.needEngine()
        super().setUp()

    def test_preview_then_apply_then_undo_and_redo(self) -> None:
        truth = self.loadPhantom()
        before = self.segmentArray()
        nodes = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        self.propagate()
        np.testing.assert_array_equal(self.segmentArray(), before)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), nodes + 1)
        self.apply()
        applied = self.segmentArray()
        np.testing.assert_array_equal(applied[list(PAINTED)], before[list(PAINTED)])
        self.assertFalse(applied[list(EMPTY)].any())
        self.assertGreater(dice(applied, truth), 0.85)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), nodes)
        self.editor.undo()
        np.testing.assert_array_equal(self.segmentArray(), before)
        self.editor.redo()
        np.testing.assert_array_equal(self.segmentArray(), applied)

    def test_another_segment_under_masking_is_not_changed(self) -> None:
        truth = self.loadPhantom()
        other = self.segmentation.GetSegmentation().AddEmptySegment("", "Other")
        block = np.zeros(truth.shape, np.uint8)
        block[8:11] = truth[8:11]
        slicer.util.updateSegmentBinaryLabelmapFromArray(block, self.segmentation, other, self.volume)
        self.waitFor(lambda: {8, 9, 10} <= {piece.index for piece in self.session.painted}, "finding the other segment")
        for index in (8, 9, 10):
            self.session.set_ticked(index, False)  # as the ellipsoid is not painted there
        editor_node = self.editor.mrmlSegmentEditorNode()
        editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        editor_node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        self.propagateAndApply()
        after = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, other, self.volume)
        np.testing.assert_array_equal(after.astype(bool), block.astype(bool))

    def test_the_error_log_gets_no_line_in_the_whole_journey(self) -> None:
        before = self.troubleInLog()
        self.loadPhantom()
        self.propagate()
        for opacity in (10, 80):
            self.ui.opacitySlider.setValue(opacity)
        self.ui.show3DButton.click()
        self.letRun(0.5)
        self.apply()
        self.editor.undo()
        self.editor.redo()
        self.propagate()
        self.ui.discardButton.click()
        self.waitFor(lambda: self.state == "idle", "discarding")
        slicer.util.selectModule("Welcome")
        slicer.util.selectModule("FewShotSAM")
        slicer.mrmlScene.Clear(0)
        self.letRun(0.5)
        self.assertEqual(self.troubleInLog()[len(before) :], [])

    def test_a_volume_under_a_linear_transform(self) -> None:
        """The segmentation that the panel creates is aligned with the volume, and so is the result."""
        truth = self.addPhantom()
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Turned")
        slicer.util.updateTransformMatrixFromArray(
            transform, np.array([[0.98, -0.199, 0, 12.3], [0.199, 0.98, 0, -7.1], [0, 0, 1, 4.4], [0, 0, 0, 1]])
        )
        self.volume.SetAndObserveTransformNodeID(transform.GetID())
        self.chooseVolume()
        self.paint(truth)
        self.waitFor(lambda: len(self.session.painted) == len(PAINTED), "finding the painted slices")
        self.assertEqual([each.index for each in self.session.painted], list(PAINTED))
        drawn = self.segmentArray()
        np.testing.assert_array_equal(drawn[list(PAINTED)], truth[list(PAINTED)])
        for index in EMPTY:
            self.session.set_empty(index, True)
        self.assertGreater(dice(self.propagateAndApply(), truth), 0.85)

    def test_discard_leaves_no_trace(self) -> None:
        self.loadPhantom()
        before = self.segmentArray()
        nodes = slicer.mrmlScene.GetNumberOfNodes()  # after segmentArray, which adds a display node
        self.propagate()
        self.ui.discardButton.click()
        self.waitFor(lambda: self.state == "idle", "discarding")
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
        np.testing.assert_array_equal(self.segmentArray(), before)

    def test_cancel_while_running(self) -> None:
        self.loadPhantom()
        before = self.segmentArray()
        self.startRun()
        self.ui.propagateButton.click()  # its text is Cancel now
        self.waitFor(lambda: self.state == "idle", "cancelling", seconds=10)
        np.testing.assert_array_equal(self.segmentArray(), before)
        self.propagate()

    def test_scene_closed_while_running(self) -> None:
        self.loadPhantom()
        self.startRun()
        slicer.mrmlScene.Clear(0)
        self.waitFor(lambda: self.state == "idle", "forgetting the scene", seconds=10)
        self.assertIsNone(self.session.target)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)
        self.loadPhantom()
        self.propagate()

    def test_reload_while_running(self) -> None:
        self.loadPhantom()
        self.startRun()
        self.widget.onReload()
        slicer.util.selectModule("FewShotSAM")
        self.useWidget()
        self.waitFor(lambda: self.state == "idle", "the new panel", seconds=10)

    def test_export_is_read_by_slicer_as_it_was_written(self) -> None:
        self.loadPhantom()
        applied = self.propagateAndApply()
        with tempfile.TemporaryDirectory(prefix="Ü") as folder:
            for name in ("result.seg.nrrd", "result.nrrd", "result.nii.gz"):
                path = Path(folder) / name
                self.session.scene.export(self.session.target, [self.segmentId], path)
                if name.endswith(".seg.nrrd"):
                    loaded = slicer.util.loadSegmentation(str(path))
                    segment = loaded.GetSegmentation().GetNthSegmentID(0)
                    self.assertEqual(loaded.GetSegmentation().GetSegment(segment).GetName(), "Ellipsoid")
                    labels = slicer.util.arrayFromSegmentBinaryLabelmap(loaded, segment, self.volume)
                else:
                    labels = slicer.util.arrayFromVolume(slicer.util.loadLabelVolume(str(path)))
                np.testing.assert_array_equal(labels.astype(bool), applied.astype(bool), err_msg=name)
