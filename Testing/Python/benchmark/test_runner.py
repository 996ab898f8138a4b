"""Rows are stored at once, computed once, and fail independently."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.benchmark import METHODS, Contender, MethodSettings, Plan, RowFile, run_plan
from FewShotSAMLib.benchmark.rows import Row
from FewShotSAMLib.benchmark.runner import IN_THIS_PROCESS
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.volume import Volume
from FewShotSAMLib.worker.process import worker_environment

CHILD_METHODS = """
import os
from FewShotSAMLib.benchmark import Contender, Outcome

def crash(volume, annotation, settings):
    if annotation.axis == 0:
        os._exit(9)
    return volume.voxels > 170

def threshold(volume, annotation, settings):
    return volume.voxels > 170

def environment(volume, annotation, settings):
    return Outcome(volume.voxels > 170, {"environment": dict(os.environ)})

ENVIRONMENT = Contender("environment", "Environment", environment)
CRASH = Contender("crash", "Crash", crash)
THRESHOLD = Contender("threshold", "Threshold", threshold)
"""


@pytest.fixture
def child_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Methods in a module that child processes can import."""
    (tmp_path / "benchmark_child_methods.py").write_text(CHILD_METHODS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    yield importlib.import_module("benchmark_child_methods")
    del sys.modules["benchmark_child_methods"]


COUNT_THREADS = """
import os
from FewShotSAMLib.benchmark.classical import fill_between_slices
from FewShotSAMLib.benchmark.methods import METHODS, load_packages
from FewShotSAMLib.core.annotation import Annotation
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom

volume, truth = ct_phantom((8, 40, 48), seed=3)
load_packages(METHODS["fill-between-slices"])
before = len(os.listdir("/proc/self/task"))
fill_between_slices(volume, Annotation(keep_slices(truth, 0, (2, 6), ["liver"]), 0, (2, 6)), None)
print(len(os.listdir("/proc/self/task")) - before)
"""


def counting(calls: list[str]) -> Contender:
    def run(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
        calls.append(settings.encoder or "none")
        return np.asarray(volume.voxels > 170)

    return Contender("counting", "Counting", run, needs_encoder=True)


def test_a_second_run_computes_nothing(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    calls: list[str] = []
    plan = plan_of(counting(calls), counts=(1, 3))
    heard: list[tuple[int, int]] = []
    first = run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, lambda row, done, total: heard.append((done, total)))
    assert calls == ["tiny"] * 4
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    second = run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: pytest.fail("computed again"))
    assert len(calls) == 4 and second == first
    run_plan(plan_of(counting(calls), counts=(1, 3), seed=1), RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)
    assert len(calls) == 8  # other settings, other rows
    run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None, recompute=True)
    assert len(calls) == 12


def test_a_stopped_benchmark_goes_on(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    calls: list[str] = []
    plan = plan_of(counting(calls), counts=(1, 3))

    def stop(row: Row, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, stop)
    with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"key": "cut off')
    assert len(run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)) == 4
    assert len(calls) == 4
    assert len(RowFile(tmp_path).read()) == 4


def test_a_failing_method_does_not_stop_the_others(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    broken = [True]

    def fail(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
        if broken[0]:
            raise BadInputError("/home/someone/scans/a.nrrd is bad.", "Mend it.")
        return np.asarray(volume.voxels > 170)

    def wrong_shape(volume: Volume, annotation: Annotation, settings: MethodSettings) -> np.ndarray:
        return np.zeros((2, 2, 2), bool)

    methods = Contender("fail", "Fail", fail), Contender("shape", "Shape", wrong_shape), counting([])
    rows = run_plan(plan_of(*methods), RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)
    assert [row["status"] for row in rows] == ["failed"] * 4 + ["done"] * 2
    assert rows[0]["error"] == "a.nrrd is bad. Mend it." and rows[0]["kind"] == "bad_input"
    assert rows[2]["kind"] == "bug" and "(2, 2, 2)" in rows[2]["error"]
    broken[0] = False
    rows = run_plan(plan_of(*methods), RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)
    assert [row["status"] for row in rows] == ["done"] * 2 + ["failed"] * 2 + ["done"] * 2
    assert all("log" not in json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())


def test_a_crash_costs_one_row(plan_of: Callable[..., Plan], tmp_path: Path, child_methods: ModuleType) -> None:
    plan = plan_of(child_methods.CRASH, child_methods.THRESHOLD)
    rows = run_plan(plan, RowFile(tmp_path), 2, lambda *_: None)
    assert [row["status"] for row in rows] == ["failed", "done", "done", "done"]
    assert rows[0]["kind"] == "crash" and "exit code 9" in rows[0]["error"]
    assert rows[2]["peak_memory_bytes"] is None or rows[2]["peak_memory_bytes"] > 10**6


def test_a_child_computes_as_the_background_process_does(
    plan_of: Callable[..., Plan], tmp_path: Path, child_methods: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUBLAS_WORKSPACE_CONFIG", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    for name in given:
        monkeypatch.delenv(name, raising=False)
    plan = plan_of(child_methods.ENVIRONMENT, only=("cylinder",))
    (row,) = run_plan(plan, RowFile(tmp_path), 2, lambda *_: None)
    found, workers = row["details"]["environment"], worker_environment()
    for name in ("OMP_WAIT_POLICY", "CUBLAS_WORKSPACE_CONFIG"):
        assert found[name] == workers[name]
    assert found["OMP_NUM_THREADS"] == str(max(1, row["machine"]["cores"] // 2))
    assert "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS" not in found, "the interpolator's own setting would be too late"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_the_interpolator_starts_no_threads_whatever_is_set(tmp_path: Path) -> None:
    if importlib.util.find_spec("itk") is None:
        pytest.skip("itk-morphologicalcontourinterpolation is not installed")
    (tmp_path / "count.py").write_text(COUNT_THREADS, encoding="utf-8")
    package = str(Path(__file__).resolve().parents[3])
    several = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "4", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **several, "PYTHONPATH": package}
    command = [sys.executable, str(tmp_path / "count.py")]
    assert subprocess.run(command, env=environment, check=True, capture_output=True).stdout.split() == [b"0"]


def test_without_a_cache_each_row_encodes_its_slices(plan_of: Callable[..., Plan], data: Path, tmp_path: Path) -> None:
    for name in ("image.nrrd", "labels.nrrd"):  # only six slices, as each is encoded
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(data / name))[:, :, 17:23], str(data / name))
    plan = plan_of(METHODS["few-shot-instant"], counts=(2, 3), only=("cylinder",))
    rows = run_plan(plan, RowFile(tmp_path), IN_THIS_PROCESS, lambda *_: None)
    assert all(row["encoder"] == "tiny" and 0 <= row["dice"] <= 1 for row in rows), rows
    first, again = (row["details"]["slices_encoded"] for row in rows)
    assert first == again > 0


def test_two_benchmarks_do_not_share_a_folder(tmp_path: Path) -> None:
    refused = pytest.raises(BadInputError, match="Another benchmark")
    with RowFile(tmp_path).locked(), refused, RowFile(tmp_path).locked():
        pass
