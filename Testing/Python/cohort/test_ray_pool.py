"""Rows on a Ray cluster of two nodes, one of which is killed halfway; the jobs are trivial."""

import csv
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import is_alive, wait_until

from FewShotSAMLib.cli import main
from FewShotSAMLib.cohort import ray_pool
from FewShotSAMLib.cohort.jobs import RowOutcome, RowTask
from FewShotSAMLib.cohort.plan import Row
from FewShotSAMLib.cohort.ray_pool import RayPool

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
GIGABYTES = 4 << 30
WritePlan = Callable[..., Path]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head node without room for rows, and two nodes with room for one each."""
    patience_s = 200  # Ray's own half minute for a node is too short on a busy computer
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": str(patience_s)}
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        made.add_node(wait=False, num_cpus=1, memory=GIGABYTES, **small)
    made.wait_for_nodes(timeout=patience_s)
    yield made
    made.shutdown()


def tasks(folder: Path, count: int, text: str) -> list[RowTask]:
    found = []
    for number in range(count):
        volume = folder / f"v{number}.nrrd"
        volume.write_text(text)
        row = Row(f"v{number}", volume, model=folder / "m.fewshot")
        files = {"output": folder / f"v{number}.seg.nrrd", "record": folder / f"v{number}.json"}
        found.append(RowTask(row, {**row.parameters({}), **{name: str(path) for name, path in files.items()}}, number))
    return found


@needs_ray
def test_a_plan_on_a_cluster(
    cluster: Any, jobs_script: Path, write_plan: WritePlan, with_test_jobs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(a="dies once", b="good", c="")
    out = plan.parent / "out"
    monkeypatch.setattr(ray_pool, "WORKER_ARGUMENTS", [str(jobs_script)])
    code = main(["cohort", str(plan), "-o", str(out), "--ray", cluster.address, "-q"])
    assert code == 2 and sorted(path.name for path in out.glob("*.seg.nrrd")) == ["a.seg.nrrd", "b.seg.nrrd"]
    rows = list(csv.DictReader((out / "cohort.csv").read_text("utf-8-sig").splitlines()))
    assert [(row["name"], row["error"]) for row in rows] == [("c", "bad_input"), ("a", ""), ("b", "")]
    assert json.loads((out / "cohort-rows" / "a.json").read_text())["threads"] == "1"


@needs_ray
def test_a_node_that_dies_loses_no_row(cluster: Any, jobs_script: Path, tmp_path: Path) -> None:
    given = tasks(tmp_path, 8, "slow 0.4")
    (tmp_path / "v3.nrrd").write_text("")  # a broken row among them
    pool = RayPool(cluster.address, None, 1, [str(jobs_script)])
    ended: list[RowOutcome] = []
    try:
        assert pool.places() == [0, 0]
        running = iter(given)
        for done in pool.run(running, lambda task, event: None, lambda: 0):
            ended.append(done)
            if len(ended) == 2:
                cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    finally:
        pool.close()
    assert sorted(done.task.number for done in ended) == list(range(8))
    assert [done.task.row.name for done in ended if done.error] == ["v3"]
    assert all((tmp_path / f"v{number}.seg.nrrd").is_file() for number in range(8) if number != 3)
    processes = [done.report["process"] for done in ended if done.report]
    assert len(set(processes)) in (2, 3), "a background process serves many rows"
    assert wait_until(lambda: not any(map(is_alive, processes)), 30), "a background process ends with its actor"


def test_without_ray_or_a_cluster_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Exception, match=r"ray is not installed.*fewshotsam\[cohort\]"):
        RayPool("auto", None, 1)
