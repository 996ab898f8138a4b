"""3D Slicer's two tools, and Biomedisa, on shapes whose segmentation is known."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from FewShotSAMLib.benchmark import METHODS, MethodSettings, Plan, RowFile, paint, run_plan
from FewShotSAMLib.benchmark.outcome import Outcome
from FewShotSAMLib.benchmark.plan import RowJob
from FewShotSAMLib.benchmark.runner import IN_THIS_PROCESS
from FewShotSAMLib.benchmark.tasks import SEGMENT, read_image_of, read_truth

NO_ITK = "itk-morphologicalcontourinterpolation is not installed"
NO_SLICER = "slicer-core is not installed"
NO_BIOMEDISA = "Biomedisa is not installed: pip install 'fewshotsam[biomedisa]'"


def run(name: str, job: RowJob) -> tuple[np.ndarray, np.ndarray]:
    """Return a method's result on a job's task, and the truth."""
    volume = read_image_of(job.task, job.data)
    truth = read_truth(job.task, job.data, volume.geometry)
    outcome = METHODS[name].run(volume, paint(truth, job.task.axis, job.painting), MethodSettings())
    assert not isinstance(outcome, Outcome)
    return outcome, truth.mask(SEGMENT)


@pytest.mark.parametrize("name", ["fill-between-slices", "fill-in-slicer"])
def test_fill_between_slices_is_exact_between_equal_slices(name: str, plan_of: Callable[..., Plan]) -> None:
    packages = {"fill-between-slices": "itk.itkMorphologicalContourInterpolatorPython", "fill-in-slicer": "slicer"}
    pytest.importorskip(packages[name], reason=NO_ITK if name == "fill-between-slices" else NO_SLICER)
    for job in plan_of().jobs:
        result, truth = run(name, job)
        first, last = job.painting.painted[0], job.painting.painted[-1]
        result, truth = np.moveaxis(result, job.task.axis, 0), np.moveaxis(truth, job.task.axis, 0)
        assert (result[first : last + 1] == truth[first : last + 1]).all()
        assert not result[:first].any() and not result[last + 1 :].any()  # it finds nothing beyond


def test_grow_from_seeds_finds_a_structure_of_another_intensity(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    pytest.importorskip("slicer", reason=NO_SLICER)
    rows = run_plan(plan_of(METHODS["grow-from-seeds"]), RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert min(row["dice"] for row in rows) > 0.95


def test_seeds_stay_what_they_are(plan_of: Callable[..., Plan]) -> None:
    pytest.importorskip("slicer", reason=NO_SLICER)
    for job in plan_of().jobs:
        result, truth = run("grow-from-seeds", job)
        known = list(job.painting.known)
        assert (np.moveaxis(result, job.task.axis, 0)[known] == np.moveaxis(truth, job.task.axis, 0)[known]).all()


def test_smart_interpolation_goes_by_the_image(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    """Along each task's own axis."""
    pytest.importorskip("biomedisa", reason=NO_BIOMEDISA)
    rows = run_plan(plan_of(METHODS["biomedisa"]), RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert min(row["dice"] for row in rows) > 0.9


def test_why_smart_interpolation_gave_up_is_told(monkeypatch: pytest.MonkeyPatch, plan_of: Callable[..., Plan]) -> None:
    """It prints the reason and returns nothing."""

    def refuses(*_: object, **__: object) -> None:
        sys.stdout.write("Error: No OpenCL device found.")

    monkeypatch.setitem(sys.modules, "biomedisa", ModuleType("biomedisa"))
    monkeypatch.setitem(sys.modules, "biomedisa.interpolation", SimpleNamespace(smart_interpolation=refuses))
    with pytest.raises(RuntimeError, match="No OpenCL device found"):
        run("biomedisa", plan_of().jobs[0])
