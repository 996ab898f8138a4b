"""Rows with real segmentations: the same as one by one, whatever else is in the plan."""

import csv
import json
from pathlib import Path

import brief
import column
import made_jobs
import numpy as np
import painted
import pytest
from warm import BriefClient

from FewShotSAMLib.cli import main
from FewShotSAMLib.core.geometry import Geometry
from FewShotSAMLib.core.image_io import write_image
from FewShotSAMLib.core.metrics import dice
from FewShotSAMLib.core.painting import keep_slices
from FewShotSAMLib.core.segment import segments_of_labels
from FewShotSAMLib.core.segmentation import Segmentation, read_segmentation, write_segmentation

pytest.importorskip("torch")


def test_rows_are_what_the_commands_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker_python: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made_jobs.use(Path(brief.__file__), monkeypatch)
    for name, seed in (("a", 0), ("b", 1)):
        painted.write(tmp_path, (4, 7), ("liver",), 12, seed, f"{name}.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:2000])
    common = {"steps": 0, "no_cache": True, "annotation": str(tmp_path / "a-painted.seg.nrrd")}
    with BriefClient(worker_python, tmp_path / "home", None) as client:  # with this test's number of threads

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


def test_an_earlier_patient_stands_beside_a_painted_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker_python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made_jobs.use(Path(brief.__file__), monkeypatch)
    geometry = Geometry(column.SHAPE[::-1], (1.0, 1.0, 3.0))
    for name, shift, slices in (("first", 0, column.PAINTED), ("next", column.SHIFT, (column.ONLY,))):
        image, truth = column.patient(shift)
        write_image(image, geometry, tmp_path / f"{name}.nrrd")
        whole = Segmentation(truth[None].astype(np.uint8), geometry, segments_of_labels([1]))
        write_segmentation(keep_slices(whole, 0, slices, ("Segment 1",)), tmp_path / f"{name}-painted.seg.nrrd")
    empty = ",".join(map(str, column.EMPTY))
    first = [str(tmp_path / name) for name in ("first.nrrd", "first-painted.seg.nrrd")]
    usual = ["--device", "cpu", "-q"]
    saved = ["-o", str(tmp_path / "first.seg.nrrd"), "--save-model", str(tmp_path / "m.fewshot"), "--steps", "0"]
    assert main(["propagate", *first, *saved, "--empty-slices", empty, *usual]) == 0
    plan = tmp_path / "plan.csv"
    plan.write_text(
        "volume,annotation,models,output\n"
        "next.nrrd,next-painted.seg.nrrd,,alone\nnext.nrrd,next-painted.seg.nrrd,m.fewshot,beside\n"
    )
    command = ["cohort", str(plan), "-o", str(tmp_path / "out"), "--processes", "1", *usual]
    assert main(command) == 0
    found = {name: read_segmentation(tmp_path / "out" / f"{name}.seg.nrrd") for name in ("alone", "beside")}
    quality = {name: dice(*map(column.unpainted, (each.mask(each.segments[0]), truth))) for name, each in found.items()}
    assert quality["beside"] > quality["alone"] + 0.1
    table = (tmp_path / "out/cohort.csv").read_text("utf-8-sig").splitlines()
    rows = {row["name"]: row for row in csv.DictReader(table)}
    assert "“1” was used" in rows["beside"]["earlier_models"] and not rows["alone"]["earlier_models"]
    (tmp_path / "m.fewshot").write_bytes(b"another")
    assert main(command) == 2 and "beside.seg.nrrd already exists, made from other files" in capsys.readouterr().err
