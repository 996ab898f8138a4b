"""Inside 3D Slicer: FewShotSAM from a script, without opening its panel."""

from __future__ import annotations

import gc
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from self_test import EMPTY, MODULE, PAINTED, SelfTestCase, dice


class FewShotSAMLogicTest(SelfTestCase):
    """`slicer.util.getModuleLogic("FewShotSAM")`, with the real background process where it is needed."""

    def setUp(self) -> None:
        """Paint a phantom while another module is open."""
        super().setUp()
        slicer.util.selectModule("Welcome")
        self.truth = self.addPhantom()
        self.addSegmentation()
        self.paint(self.truth)
        self.logic: Any = slicer.util.getModuleLogic(MODULE)
        self.addCleanup(self.logic.close)

    def test_without_the_engine_the_error_says_what_to_do(self) -> None:
        from FewShotSAMLib.core.errors import FewShotSAMError
        from FewShotSAMLib.widgets.dependencies import Dependencies

        if not Dependencies().missing():
            self.skipTest("all packages are there")
        with self.assertRaises(FewShotSAMError) as raised:
            self.logic.propagate(self.volume, self.segmentation)
        self.assertIn("Install", raised.exception.hint)
        self.assertFalse(self.logic.isRunning)

    def test_propagate_blocks_while_slicer_works_and_undo_takes_it_back(self) -> None:
        self.needEngine()
        before, log = self.segmentArray(), self.troubleInLog()
        heard: list[str] = []
        result = self.logic.propagate(
            self.volume, self.segmentation, emptySlices=EMPTY, onProgress=lambda progress: heard.append(progress.text)
        )
        self.assertIs(result.segmentation, self.segmentation)
        after = self.segmentArray()
        np.testing.assert_array_equal(after[list(PAINTED)], before[list(PAINTED)])
        self.assertFalse(after[list(EMPTY)].any())
        self.assertGreater(dice(after, self.truth), 0.85)
        self.assertTrue(heard)
        self.logic.undo()
        np.testing.assert_array_equal(self.segmentArray(), before)
        self.assertEqual(self.troubleInLog()[len(log) :], [])

    def test_undo_of_the_segment_editor_module(self) -> None:
        self.needEngine()
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(self.segmentation)
        editor.setSourceVolumeNode(self.volume)
        before = self.segmentArray()
        self.logic.propagate(self.volume, self.segmentation, emptySlices=EMPTY)
        self.assertGreater(self.segmentArray().sum(), before.sum())
        editor.undo()
        np.testing.assert_array_equal(self.segmentArray(), before)

    def test_with_a_callback(self) -> None:
        self.needEngine()
        ends: list[tuple[Any, Any]] = []
        options = {"emptySlices": EMPTY, "asNewSegmentation": True}
        before = self.segmentArray()
        self.logic.propagate(self.volume, self.segmentation, onFinished=lambda *end: ends.append(end), **options)
        self.assertTrue(self.logic.isRunning)
        self.waitFor(lambda: bool(ends), "the end", seconds=300)
        result, error = ends[0]
        self.assertIsNone(error)
        self.assertIsNot(result.segmentation, self.segmentation)
        self.assertGreater(dice(self.segmentArray(result.segmentation), self.truth), 0.85)
        np.testing.assert_array_equal(self.segmentArray(), before)

    def test_a_logic_that_nobody_holds_leaves_nothing_behind(self) -> None:
        self.needEngine()
        import FewShotSAM

        ends: list[tuple[Any, Any]] = []
        own = FewShotSAM.FewShotSAMLogic()
        own.propagate(self.volume, self.segmentation, emptySlices=EMPTY, onFinished=lambda *end: ends.append(end))
        session = own._scripting._session
        client, folder = session._requests._client, session._job_folder.path
        self.waitFor(lambda: client.running, "the process", seconds=60)
        del own
        gc.collect()
        self.waitFor(lambda: bool(ends), "the end", seconds=30)
        self.assertEqual(ends[0][1].kind, "cancelled")
        self.assertFalse(client.running)
        self.assertFalse(folder.exists())

    def test_the_script_of_the_documentation(self) -> None:
        self.needEngine()
        script = Path(__file__).resolve().parent / "propagate_script.py"
        found = runpy.run_path(str(script))
        self.assertGreater(dice(found["mask"], found["truth"]), 0.85)
