"""The tasks file: what it may contain, and one-line errors for invalid files."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from FewShotSAMLib.benchmark import Task, read_tasks
from FewShotSAMLib.benchmark.tasks import SEGMENT, read_image_of, read_truth
from FewShotSAMLib.cli import main

ARGUMENTS = ["--methods", "few-shot-instant", "--k", "3", "--quiet"]
TASK = 'name = "a"\nimage = "image.nrrd"\nlabels = "labels.nrrd"\nvalues = [1]\naxis = 0\n'

BAD_FILES: dict[str, tuple[str, str]] = {
    "no TOML": ("[[task", "not a TOML"),
    "no task": ("x = 1\n", "no [[task]]"),
    "no name": ("[[task]]\n" + TASK.replace('name = "a"', ""), "name is missing"),
    "values no list": ("[[task]]\n" + TASK.replace("[1]", "1"), "values"),
    "background value": ("[[task]]\n" + TASK.replace("[1]", "[0]"), "values"),
    "axis 3": ("[[task]]\n" + TASK.replace("axis = 0", "axis = 3"), "axis is 3"),
    "no image": ("[[task]]\n" + TASK.replace("image.nrrd", "nowhere.nrrd"), "nowhere.nrrd"),
    "value not there": ("[[task]]\n" + TASK.replace("[1]", "[99]"), "99"),
    "twice": (2 * ("[[task]]\n" + TASK), "several tasks"),
}


def test_a_mark_of_the_byte_order_is_no_part_of_the_text(data: Path) -> None:
    """As Notepad and PowerShell write it."""
    tasks = data / "tasks.toml"
    names = [task.name for task in read_tasks(tasks, data)]
    tasks.write_text(tasks.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert [task.name for task in read_tasks(tasks, data)] == names


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_tasks_file_is_one_line(case: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = BAD_FILES[case]
    (data / "tasks.toml").write_text(text, encoding="utf-8")
    code = main(["benchmark", "--tasks", str(data / "tasks.toml"), "--output", str(tmp_path / "out"), *ARGUMENTS])
    errors = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(errors) == 1 and errors[0].startswith("error: ") and words in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "liver"], "cylinder, box"),
        (["--methods", "guess"], "grow-from-seeds"),
        (["--encoders", "vit_z"], "vit_z"),
        (["--data", "nowhere"], "--data"),
        (["--tasks", "nowhere.toml"], "nowhere.toml"),
        (["--k", "0"], "at least one"),
        (["--jobs", "0"], "from 1 up"),
    ],
)
def test_bad_argument_is_one_line(
    arguments: list[str], words: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["benchmark", "--tasks", str(data / "tasks.toml"), "--output", str(tmp_path / "out"), *ARGUMENTS]
    try:
        code = main([*given, *arguments])
    except SystemExit as stop:
        code = int(str(stop.code))
    errors = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(errors) == 1 and errors[0].startswith("error: ") and words in errors[0]


def test_values_are_merged_and_floats_rounded(data: Path, tasks: list[Task]) -> None:
    truth = read_truth(tasks[0], data, read_image_of(tasks[0], data).geometry).mask(SEGMENT)
    assert np.flatnonzero(truth.any(axis=(1, 2))).tolist() == list(range(3, 21))


def test_labels_on_a_flipped_grid_are_turned(data: Path, tasks: list[Task]) -> None:
    geometry = read_image_of(tasks[1], data).geometry
    before = read_truth(tasks[1], data, geometry).mask(SEGMENT)
    labels = SimpleITK.ReadImage(str(data / "labels.nrrd"))
    SimpleITK.WriteImage(SimpleITK.Flip(labels, (True, False, True)), str(data / "labels.nrrd"))
    assert (read_truth(tasks[1], data, geometry).mask(SEGMENT) == before).all()


def test_only_the_named_tasks(data: Path) -> None:
    assert [task.name for task in read_tasks(data / "tasks.toml", data, ["box"])] == ["box"]


def test_real_tasks_can_be_read(shared_data: Path) -> None:
    tasks = read_tasks(shared_data / "tasks.toml", shared_data)
    assert len({task.name for task in tasks}) == len(tasks) > 0
    dicom = [task for task in tasks if (shared_data / task.image).is_dir()]
    for task in (tasks[-1], *dicom[:1]):
        geometry = read_image_of(task, shared_data).geometry
        assert read_truth(task, shared_data, geometry).mask(SEGMENT).any()
