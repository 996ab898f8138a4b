"""A plan's rows: from tables as people write them, from folders, from BIDS data sets."""

import os
from pathlib import Path

import pytest

from FewShotSAMLib.cohort.find import read_plan
from FewShotSAMLib.cohort.plan import PlanDefaults, Row, check_rows
from FewShotSAMLib.cohort.state import key_of
from FewShotSAMLib.core.errors import BadInputError

MODEL = Path("/m.fewshot")
DICOM = b"\0" * 128 + b"DICM"


def table(folder: Path, text: str, name: str = "plan.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8-sig"))
    return path


def files(folder: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(("separator", "name"), [(",", "p.csv"), (";", "p.csv"), ("\t", "p.tsv")])
def test_a_table_as_excel_writes_it(separator: str, name: str, tmp_path: Path) -> None:
    lines = [
        ["Volume", "Annotation", "MODEL", "Output", "empty-slices", "Site", "steps"],
        ["a/ct.nrrd", "a/painted.nrrd", "", "first.nii.gz", '"3,40-42"', "Köln", "5"],
        ["/data/ct.nii", "", "m.fewshot", "", "", "", ""],
        ["b.nrrd", "b-painted.nrrd", "m.fewshot", "third", "", "", ""],
    ]
    text = "\r\n".join(separator.join(cells) for cells in [*lines, [""] * 7]) + "\r\n"
    rows = read_plan(table(tmp_path, text, name), PlanDefaults(), tmp_path / "out")
    first, second, third = rows
    assert first.command == "propagate" and first.volume == tmp_path / "a/ct.nrrd"
    assert first.output(Path("o")) == Path("o/first.nii.gz") and first.name == "first"
    assert dict(first.kept) == {"Site": "Köln"}
    parameters = first.parameters({"steps": 300, "device": "cpu"})
    assert parameters["empty_slices"] == [3, 40, 41, 42] and (parameters["steps"], parameters["device"]) == (5, "cpu")
    assert second.command == "apply" and second.output(Path("o")) == Path("o/ct.seg.nrrd")
    assert second.parameters({"steps": 300, "device": "cpu"}).keys() == {"device", "volume", "model"}
    assert third.command == "propagate" and third.parameters({})["warm_start"] == str(tmp_path / "m.fewshot")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,model\na,m\n", "no column “volume”"),
        ("volume,model,Model\na,m,m\n", "several columns “model”"),
        ("volume,model\na,\n", "Line 2 .* neither an annotation nor a model"),
        ("volume,model\n,m\n", "Line 2 .* names no volume"),
        ("volume,model\na,m\nb,m,x\n", "Line 3 .* more cells"),
        ("volume,model,models\na,m,x\n", "Line 2 .* no annotation to use them with"),
        ("volume,annotation,steps\na,b,many\n", "Line 2 .* has the steps “many”"),
        ("volume,model\n", "has no rows"),
        ("", "is empty"),
    ],
)
def test_what_a_table_cannot_mean_is_named_by_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        read_plan(table(tmp_path, text), PlanDefaults(), tmp_path / "out")
    assert caught.value.hint


def test_other_plans_that_cannot_be(tmp_path: Path) -> None:
    files(tmp_path, "plan.xlsx", "x.nrrd")
    files(tmp_path, "latin.csv", content="volume\nKöln".encode("latin-1"))
    for name, message in [("plan.xlsx", "neither a table"), ("none.csv", "does not exist"), ("latin.csv", "UTF-8")]:
        with pytest.raises(BadInputError, match=message):
            read_plan(tmp_path / name, PlanDefaults(), tmp_path / "out")
    for wanted, message in [
        (PlanDefaults(), "does not say what to segment them with"),
        (PlanDefaults(MODEL, pattern="*.mha"), "No volume"),
        (PlanDefaults(MODEL, pattern="/etc/*"), "cannot be used"),
        (PlanDefaults(MODEL, annotation_pattern="{patient}.nrrd"), "cannot be used"),
    ]:
        with pytest.raises(BadInputError, match=message):
            read_plan(tmp_path, wanted, tmp_path / "out")


def test_a_folder_by_a_pattern(tmp_path: Path) -> None:
    files(tmp_path, "1/ct.nii.gz", "1/painted.seg.nrrd", "2/ct.nii.gz", "2/notes.txt")
    files(tmp_path, ".hidden/ct.nii.gz", "out/ct.nii.gz")
    wanted = PlanDefaults(MODEL, pattern="*/*", annotation_pattern="{folder}/painted.seg.nrrd")
    first, second = read_plan(tmp_path, wanted, tmp_path / "out")
    assert (first.name, first.annotation, first.model) == ("1_ct", tmp_path / "1/painted.seg.nrrd", None)
    assert (second.name, second.annotation, second.model) == ("2_ct", None, MODEL)


def test_models_beside_an_annotation_are_the_rows_own_or_those_for_all(tmp_path: Path) -> None:
    text = "volume,annotation,model,models,Site\na.nrrd,a-p.nrrd,,x.fewshot; /y.fewshot,1\n"
    text += "b.nrrd,b-p.nrrd,w.fewshot,,2\nc.nrrd,,m.fewshot,,3\n"
    rows = read_plan(table(tmp_path, text), PlanDefaults(models=(MODEL,)), tmp_path / "out")
    own, common, applied = (row.parameters({}) for row in rows)
    assert own["models"] == [str(tmp_path / "x.fewshot"), "/y.fewshot"] and "warm_start" not in own
    assert common["models"] == [str(MODEL)] and common["warm_start"] == str(tmp_path / "w.fewshot")
    assert "models" not in applied and dict(rows[0].kept) == {"Site": "1"}
    files(tmp_path, "1/ct.nii.gz", "1/painted.seg.nrrd", "2/ct.nii.gz")
    wanted = PlanDefaults(
        MODEL, pattern="*/*", annotation_pattern="{folder}/painted.seg.nrrd", models=(Path("/z.fewshot"),)
    )
    painted, other = read_plan(tmp_path, wanted, tmp_path / "out")
    assert painted.parameters({})["models"] == ["/z.fewshot"] and "models" not in other.parameters({})


def test_a_result_is_made_of_what_is_in_the_models_not_of_where_they_lie(tmp_path: Path) -> None:
    files(tmp_path, "v.nrrd", "p.nrrd", "a.fewshot", "b.fewshot")

    def key(*models: str) -> str:
        row = Row("v", tmp_path / "v.nrrd", tmp_path / "p.nrrd", models=tuple(tmp_path / each for each in models))
        return key_of(row, row.parameters({}))

    first = key("a.fewshot")
    assert first == key("b.fewshot") != key() and key("a.fewshot", "b.fewshot") != first
    files(tmp_path, "a.fewshot", content=b"learned again")
    assert key("a.fewshot") != first


def test_names_of_dicom_folders_stay_where_they_are_unless_asked(tmp_path: Path) -> None:
    files(tmp_path, "Doe^John/0001/IM1", "Doe^John/0001/IM2", "Roe^Jane/0002/x.dcm", content=DICOM)
    files(tmp_path, "Roe^Jane/empty/readme.txt")
    rows = read_plan(tmp_path, PlanDefaults(MODEL, pattern="*/*"), tmp_path / "out")
    assert [row.volume.name for row in rows] == ["0001", "0002"]
    assert all(row.name.startswith("dicom-") for row in rows) and len({row.name for row in rows}) == 2
    again = read_plan(tmp_path, PlanDefaults(MODEL, pattern="*/0002"), tmp_path / "out")
    assert again[0].name == rows[1].name, "a name does not depend on the other rows"
    asked = read_plan(tmp_path, PlanDefaults(MODEL, pattern="*/*", dicom_names=True), tmp_path / "out")
    assert [row.name for row in asked] == ["Doe^John_0001", "Roe^Jane_0002"]
    (row,) = read_plan(table(tmp_path, "volume\nDoe^John/0001\n"), PlanDefaults(MODEL), tmp_path / "out")
    assert row.name == rows[0].name
    check_rows(rows, tmp_path / "out", {})


def test_a_bids_data_set(tmp_path: Path) -> None:
    files(tmp_path, "dataset_description.json", "participants.tsv", "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz")
    files(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T1w.json", "sub-01/func/sub-01_bold.nii.gz")
    files(tmp_path, "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii")
    rows = read_plan(tmp_path, PlanDefaults(MODEL), tmp_path / "out")
    assert [row.name for row in rows] == ["sub-01_T1w", "sub-02_ses-1_T1w"]
    files(tmp_path, "sub-02/ses-1/anat/sub-02_ses-1_T2w.nii")
    with pytest.raises(BadInputError, match=r"several kinds of images: T1w \(2\), T2w \(1\)") as caught:
        read_plan(tmp_path, PlanDefaults(MODEL), tmp_path / "out")
    pattern = str(caught.value.hint).partition("'")[2].partition("'")[0]
    assert len(read_plan(tmp_path, PlanDefaults(MODEL, pattern=pattern), tmp_path / "out")) == 1  # only the .nii.gz
    place = "derivatives/painted/{folder}/{name}_dseg.nii"
    painted = PlanDefaults(MODEL, pattern="sub-*/**/*_T1w.nii*", annotation_pattern=place)
    files(tmp_path, "derivatives/painted/sub-01/anat/sub-01_T1w_dseg.nii")
    assert [row.command for row in read_plan(tmp_path, painted, tmp_path / "out")] == ["propagate", "apply"]


@pytest.mark.parametrize(
    ("rows", "common", "message"),
    [
        ([Row("A", Path("a/x")), Row("a", Path("b/x"))], {}, "would both be called a"),
        ([Row("../a", Path("x"))], {}, "cannot be called"),
        ([Row("a.", Path("x"))], {}, "cannot be called"),
        ([Row("x" * 300, Path("x"))], {}, "cannot be called"),
        ([Row("a", Path("out/b.nrrd"), suffix=".nrrd"), Row("b", Path("c.nrrd"), suffix=".nrrd")], {}, "would replace"),
        ([Row("a", Path("x"), model=MODEL)], {"steps": 3}, "--steps is for propagate"),
        ([Row("a", Path("x"), model=MODEL)], ["models"], "--models is for propagate"),
        ([Row("a", Path("x"), Path("y"), suffix=".nrrd", models=(Path("out/a.nrrd"),))], [], "would replace a file"),
    ],
)
def test_rows_that_get_into_each_others_way(rows: list[Row], common: dict | list, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        check_rows(rows, Path("out"), common)


@pytest.mark.skipif(os.name != "posix", reason="a link")
def test_what_lies_in_the_folder_of_results_is_no_volume(tmp_path: Path) -> None:
    files(tmp_path, "a.nii.gz", "results/a.nii.gz")
    assert len(read_plan(tmp_path, PlanDefaults(MODEL, pattern="**/*.nii.gz"), tmp_path / "results")) == 1
