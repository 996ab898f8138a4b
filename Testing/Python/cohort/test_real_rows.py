"""Rows that are really segmented: the same as one by one, whatever else is in the plan."""

import json
import shutil
from pathlib import Path

import brief
import made_jobs
import numpy as np
import pytest
from warm import BriefClient

from FewShotSAMLib.cli import main
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.phantom import ct_phantom
from FewShotSAMLib.core.segmentation import read_segmentation, write_segmentation

pytest.importorskip("torch")


def test_rows_are_what_the_commands_give_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker_python: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made_jobs.use(Path(brief.__file__), monkeypatch)
    for name, seed in (("a", 0), ("b", 1)):
        volume, truth = ct_phantom((12, 40, 48), seed)
        write_image(volume.voxels, volume.geometry, tmp_path / f"{name}.nii.gz")
        write_segmentation(keep_slices(truth, 0, (4, 7), ("liver",)), tmp_path / f"{name}-painted.seg.nrrd")
    shutil.copy(tmp_path / "a.nii.gz", tmp_path / "cut.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:2000])
    common = {"steps": 0, "no_cache": True, "annotation": str(tmp_path / "a-painted.seg.nrrd")}
    with BriefClient(worker_python, tmp_path / "home", None) as client:  # with the threads of this test

        def run(command: str, **parameters: object) -> dict:
            return client.wait(client.request(command, parameters))

        made = {"output": str(tmp_path / "first.seg.nrrd"), "save_model": str(tmp_path / "m.fewshot")}
        run("propagate", volume=str(tmp_path / "a.nii.gz"), **common, **made)
        more = {"output": str(tmp_path / "second.seg.nrrd"), "no_cache": True}
        run("apply", volume=str(tmp_path / "b.nii.gz"), model=str(tmp_path / "m.fewshot"), **more)
    plan = tmp_path / "plan.tsv"
    lines = ["a.nii.gz\ta-painted.seg.nrrd\t\t0", "b.nii.gz\t\tm.fewshot\t", "cut.nii.gz\t\tm.fewshot\t"]
    plan.write_text("\n".join(["volume\tannotation\tmodel\tsteps", *lines]), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["cohort", str(plan), "-o", str(out), "--device", "cpu", "--processes", "1", "-q"]) == 2
    for row, alone in (("a", "first"), ("b", "second")):
        ours, theirs = (read_segmentation(path) for path in (out / f"{row}.seg.nrrd", tmp_path / f"{alone}.seg.nrrd"))
        np.testing.assert_array_equal(ours.layers, theirs.layers)
        assert [each.name for each in ours.segments] == ["liver"] and ours.layers.any()
    table = (out / "cohort.csv").read_text("utf-8-sig").splitlines()
    assert table[1].startswith("cut,failed,") and len(table) == 4
    data = (out / "cohort.html").read_text("utf-8").partition('id="data">')[2].partition("</script>")[0]
    rows = {row["name"]: row for row in json.loads(data)["rows"]}
    assert rows["a"]["shown"] and rows["b"]["shown"]
    assert rows["a"]["picture"] and rows["b"]["picture"] and rows["cut"]["error"][0] == "bad_input"
