"""The module's logic, for scripts: under the harness's Qt, with a real background process."""

import gc
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from harness import application, problems, scripted
from harness.scene import add_segmentation, add_volume, only, paint, voxels

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.widgets import scripting
from FewShotSAMLib.widgets.dependencies import Dependencies

STEPS = 2
REPOSITORY = Path(__file__).resolve().parents[3]
GEOMETRY = Geometry((40, 36, 15), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0))


class Case:
    """A volume with a painted segmentation, and the module's file loaded as by Slicer."""

    def __init__(self) -> None:
        self.module = scripted.loadModule(REPOSITORY / "FewShotSAM" / "FewShotSAM.py")
        axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in GEOMETRY.shape), indexing="ij")
        truth = axes[0] ** 2 + axes[1] ** 2 * 3 + axes[2] ** 2 * 3 < 0.8
        self.volume = add_volume(slicer.mrmlScene, (truth * 200).astype(np.int16), GEOMETRY)
        self.segmentation = add_segmentation(slicer.mrmlScene, self.volume, ["A"])
        paint(self.segmentation, "A", only(truth, 0, [4, 7, 10]), GEOMETRY)


@pytest.fixture
def case(warm_client: Any, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(Dependencies, "missing", lambda self: [])
    monkeypatch.setattr(scripting, "createWorkerClient", lambda: warm_client)
    return Case()


def test_blocking_then_with_a_callback_from_qts_timer(case: Case) -> None:
    logic = case.module.FewShotSAMLogic()
    result = logic.propagate(case.volume, case.segmentation, emptySlices=[0, 14])
    assert result.segmentation is case.segmentation
    assert voxels(case.segmentation, "A", GEOMETRY)[5].any()
    logic.undo()
    assert not voxels(case.segmentation, "A", GEOMETRY)[5].any()
    ends: list[tuple[Any, Any]] = []
    logic.propagate(case.volume, case.segmentation, onFinished=lambda *end: ends.append(end))
    assert logic.isRunning and not ends
    application.until(lambda: ends)
    assert ends[0][1] is None and ends[0][0].segmentation is case.segmentation
    logic.close()


def test_a_mistake_in_the_callback_is_not_swallowed_and_ends_the_run(case: Case) -> None:
    logic = case.module.FewShotSAMLogic()

    def mistaken(progress: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        logic.propagate(case.volume, case.segmentation, onProgress=mistaken)
    assert not logic.isRunning
    ends: list[Any] = []
    logic.propagate(
        case.volume, case.segmentation, onProgress=mistaken, onFinished=lambda result, error: ends.append(error)
    )
    application.until(lambda: ends)
    assert isinstance(ends[0].__cause__, ZeroDivisionError) and not logic.isRunning
    logic.close()


def test_a_logic_that_nobody_holds_is_closed_in_the_middle_of_its_run(case: Case) -> None:
    logic = case.module.FewShotSAMLogic()
    ends: list[tuple[Any, Any]] = []
    logic.propagate(case.volume, case.segmentation, onFinished=lambda *end: ends.append(end))
    folder = logic._scripting._session._job_folder.path
    application.until(lambda: (folder / "volume.nrrd").exists())
    del logic
    gc.collect()
    assert not folder.exists()
    application.until(lambda: ends)
    assert ends[0][0] is None and ends[0][1].kind == "cancelled"


def test_what_is_missing_leads_to_the_panel(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dependencies, "missing", lambda self: ["h5py>=3.10", "torch>=2.4"])
    logic = case.module.FewShotSAMLogic()
    with pytest.raises(FewShotSAMError, match=r"h5py, torch.*module FewShotSAM and press Install"):
        logic.propagate(case.volume, case.segmentation)
    assert not logic.isRunning


@pytest.mark.timeout(900)  # learning for its second volume takes all steps
def test_the_script_of_the_documentation(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs inside Slicer too, see Testing/Slicer; where `slicer.util` finds the logic is the next test's subject."""
    logic = case.module.FewShotSAMLogic()
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLScene(slicer.mrmlScene)
    for name, made in {"volumes": volumes, "segmentations": application.parts["segmentations"]}.items():
        monkeypatch.setattr(slicer.modules, name, SimpleNamespace(logic=lambda made=made: made), raising=False)
    monkeypatch.setattr(slicer.util, "getModuleLogic", {"FewShotSAM": logic}.__getitem__)
    found = runpy.run_path(str(REPOSITORY / "Testing" / "Slicer" / "propagate_script.py"))
    # Slicer's own functions say this if the colours and the subject hierarchy's plugins are missing.
    missing = ("Colors module logic", "DataNodeCache", "color table node")
    assert [each for each in problems.takeAll() if not any(part in each for part in missing)] == []
    assert dice(found["mask"], found["truth"]) > 0.8
    assert found["follow_up"].GetSegmentation().GetNthSegment(0).GetName() == "Ellipsoid"
    assert (found["folder"] / "Follow-up.seg.nrrd").is_file()


def test_the_widget_has_it_where_slicer_looks(case: Case, panel: Any) -> None:
    """`slicer.util.getModuleLogic` reads the attribute `logic` of the module's widget, in 5.10 as in 5.12."""
    assert isinstance(panel.widget.logic, panel.module.FewShotSAMLogic)
