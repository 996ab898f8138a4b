"""The scripted module of 3D Slicer: its description, the shell of its panel, and the entry point of its self test.

Everything else is in FewShotSAMLib, next to this file in an installed extension. Torch is never imported here: the
background process does the computing.
"""

import importlib.util
import logging
import sys
import weakref
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

LIBRARY = "FewShotSAMLib"
HOMEPAGE = "https://github.com/FewShotSAM/SlicerFewShotSAM"


def makeLibraryImportable() -> None:
    """Extend the path: Slicer adds only this file's folder to it; in a source tree the library is in the parent."""
    found = importlib.util.find_spec(LIBRARY)
    if found is None or found.origin is None:  # without an origin it is just a folder of that name
        parent = Path(__file__).resolve().parent.parent
        if not (parent / LIBRARY / "__init__.py").is_file():
            raise ImportError(f"{LIBRARY} is neither installed nor in {parent}; install the extension again.")
        sys.path.append(str(parent))


def forgetLibrary() -> None:
    """Drop the library's modules, so that the next import reads the files again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == LIBRARY]:
        del sys.modules[name]


class FewShotSAM(ScriptedLoadableModule):
    """The module's entry in Slicer's module list."""

    def __init__(self, parent) -> None:
        super().__init__(parent)
        makeLibraryImportable()  # Slicer creates this object before anything else in this file
        parent.title = _("FewShotSAM")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "SegmentEditor"]
        parent.contributors = [f'<a href="{HOMEPAGE}/graphs/contributors">FewShotSAM contributors</a>']
        parent.helpText = _(
            "Paint a few slices, press Propagate, and get the whole volume segmented on your own computer. "
            "A strip shows how sure the result is on each slice, and where to paint next."
        )
        parent.helpText += "<p>{}</p>".format(
            _("For more information, see the {url_start}tutorial{url_end}.").format(
                url_start=f'<a href="{HOMEPAGE}/blob/main/docs/tutorial.md">', url_end="</a>"
            )
        )
        parent.acknowledgementText = _(
            "Builds on Segment Anything (Kirillov et al., ICCV 2023), SAM Fewshot Finetuning (Xie et al., 2024), "
            "AutoSAM (Hu et al., 2023) and Cheap Lunch (Feng et al., 2023)."
        )
        slicer.app.connect("startupCompleted()", registerSamples)


def registerSamples() -> None:
    """Register the tutorial's volumes in the Sample Data module."""
    from FewShotSAMLib.widgets.sample_data import registerSampleData

    registerSampleData()


class FewShotSAMWidget(ScriptedLoadableModuleWidget):
    """The shell of the panel: forwards Slicer's calls to `FewShotSAMLib.widgets.panel.Panel`."""

    makeServices = None  # tests set their own session and dialogs

    def __init__(self, parent=None) -> None:
        self.panel = None  # first: without a parent the base class calls `setup` itself
        self.logic = FewShotSAMLogic()  # where slicer.util.getModuleLogic looks for it
        self.root = None
        super().__init__(parent)

    def setup(self) -> None:
        """Called once, when the module is opened for the first time."""
        super().setup()
        from FewShotSAMLib.core.errors import FewShotSAMError
        from FewShotSAMLib.widgets.panel import Panel
        from FewShotSAMLib.widgets.services import makeServices

        self.root = slicer.util.loadUI(self.resourcePath("UI/FewShotSAM.ui"))
        self.root.setMRMLScene(slicer.mrmlScene)
        # Take all the available height: the sections scroll within it, so the strip below them is always visible.
        self.layout.addWidget(self.root, 1)
        try:
            self.panel = Panel(self.root, self.makeServices or makeServices)
        except FewShotSAMError as error:
            slicer.util.errorDisplay(str(error), windowTitle="FewShotSAM")
            return
        slicer.app.connect("aboutToQuit()", self.onQuit)
        if getattr(self.parent, "isEntered", False):  # Slicer's Reload recreates the panel without calling enter()
            self.enter()

    def enter(self) -> None:
        """Called each time the module is opened."""
        if self.panel is not None:
            self.panel.enter()

    def exit(self) -> None:
        """Called each time another module is opened."""
        if self.panel is not None:
            self.panel.exit()

    def onQuit(self) -> None:
        """Called when Slicer begins to quit."""
        if self.panel is not None:
            slicer.app.disconnect("aboutToQuit()", self.onQuit)
            self.panel.close()
            self.panel = None

    def cleanup(self) -> None:
        """Called before the module is reloaded or unloaded."""
        self.onQuit()
        self.logic.close()
        if self.root is not None:  # Slicer would only hide it, and searches would still find it
            self.root.setParent(None)
            self.root.deleteLater()
            self.root = None

    def onReload(self) -> None:
        """Reload the library as well when a developer presses Reload."""
        self.cleanup()
        forgetLibrary()
        super().onReload()


class FewShotSAMLogic(ScriptedLoadableModuleLogic):
    """FewShotSAM for scripts: `slicer.util.getModuleLogic("FewShotSAM")`, or your own instance. See docs/scripting.md.

    Errors are raised as `FewShotSAMLib.core.errors.FewShotSAMError`, with `message` and `hint`. The background process
    starts with the first run and ends when Slicer quits, when the logic is closed, or when nothing references it.
    """

    def __init__(self) -> None:
        super().__init__()
        from FewShotSAMLib.widgets.scripting import makeScripting

        self._scripting = makeScripting()
        # Not a method of this object: the connection must not keep it alive.
        slicer.app.connect("aboutToQuit()", weakref.finalize(self, self._scripting.close))

    def propagate(self, volumeNode: Any, segmentationNode: Any, **options: Any) -> Any:
        """Learn from the painted slices of a segmentation and segment the other slices of the volume.

        emptySlices: slices that contain none of the segments, in addition to those declared empty in the panel;
        emptyOf: the same for single segments, by name, as in {"Spleen": [3, 40]}. axis: array axis (0, 1, 2 for k, j,
        i) along which slices are painted; by default as chosen in the panel, or detected. sliceRange: first and last
        slice to predict. asNewSegmentation: leave `segmentationNode` unchanged. models: files of earlier patients'
        few-shot models, used in addition to the painted slices. All other options are those of the command line:
        method, encoder, checkpoint, device, precision, largest_island, fill_holes, smooth_mm, cache_limit_gb.
        onProgress(progress): receives text, fraction and remaining_s. onFinished(result, error): called at the end,
        and this returns None at once; without it this blocks, but Slicer stays responsive.

        Returns `segmentation` (the node), `review` (axis, confidence of each slice, next_slices) and `warnings`. The
        result is one step of Undo in a Segment Editor that has the segmentation selected. Raises FewShotSAMError.
        """
        return self._scripting.propagate(volumeNode, segmentationNode, **options)

    def applyModel(self, modelPath: Any, volumeNode: Any, **options: Any) -> Any:
        """Segment a volume with a saved few-shot model; the result's `segmentation` is a new node. Options as above."""
        return self._scripting.applyModel(modelPath, volumeNode, **options)

    def saveModel(self, path: Any) -> None:
        """Write what the last `propagate` learned to a file, "….fewshot". Raises FewShotSAMError."""
        self._scripting.saveModel(path)

    def export(self, volumeNode: Any, segmentationNode: Any, path: Any) -> list[str]:
        """Write all segments on the volume's full geometry: .seg.nrrd, .nrrd, .nii.gz. Returns warnings."""
        return self._scripting.export(volumeNode, segmentationNode, path)

    def undo(self) -> None:
        """Undo what the last `propagate` wrote."""
        self._scripting.undo()

    def cancel(self) -> None:
        """Stop the run, which ends with CancelledError; call this from onProgress, a button, or a timer."""
        self._scripting.cancel()

    def close(self) -> None:
        """End the background process and free its memory; the next run starts another."""
        self._scripting.close()

    @property
    def isRunning(self) -> bool:
        """Whether a run is under way."""
        return self._scripting.isRunning


class FewShotSAMTest(ScriptedLoadableModuleTest):
    """Slicer's self test; its cases are in Testing/Slicer, and CMake registers them one by one."""

    def runTest(self) -> None:
        """Run the tests that need the Slicer application."""
        import unittest

        folder = Path(__file__).resolve().parent.parent / "Testing" / "Slicer"
        if not folder.is_dir():
            logging.warning(
                "FewShotSAM: the self test runs in a source tree only; an installed extension has no tests."
            )
            return
        result = unittest.TextTestRunner().run(unittest.defaultTestLoader.discover(str(folder), "*Test.py"))
        if not result.wasSuccessful():
            raise AssertionError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} tests failed.")
