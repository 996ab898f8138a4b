"""What a session saved is offered to the next one, complete and once, and nothing else of it is left behind."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from workflow.conftest import ArrayScene

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.workflow import autosave
from FewShotSAMLib.workflow.autosave import Autosave, leftovers
from FewShotSAMLib.workflow.job_folder import AUTOSAVE, JobFolder
from FewShotSAMLib.workflow.scene import Target

TARGET = Target("v", "s")
SHAPE = (4, 5, 6)


def kept(scene: ArrayScene, folder: JobFolder, told: list[Any], place: str = "here") -> Autosave:
    """The autosave, with something to save."""
    made = Autosave(scene, folder.path, place, told.append)  # type: ignore[arg-type]
    made.source = "ct.nrrd"
    scene.labels[2, 1:3, 2:4] = 1
    made.mark()
    return made


def died(folder: JobFolder) -> None:
    """Simulate that the process is dead, and its lock with it."""
    folder._stream.close()


def test_work_is_offered_once_after_a_crash(tmp_path: Path) -> None:
    scene, folder, told = ArrayScene(SHAPE), JobFolder(tmp_path), list[Any]()
    saving = kept(scene, folder, told)
    (folder.path / "volume.nrrd").write_text("a patient")
    saving.keep_now(TARGET, lambda: "a note", None)
    scene.labels[1, 1, 1] = 1
    saving.mark()
    saving.keep_now(TARGET, lambda: "a later note", None)
    assert saving.is_kept and not told and len(list((folder.path / AUTOSAVE).iterdir())) == 2
    assert leftovers(tmp_path, "here") == [], "its process lives"
    died(folder)
    assert leftovers(tmp_path, "elsewhere") == []
    (left,) = leftovers(tmp_path, "here")
    assert leftovers(tmp_path, "here") == [], "it is this process's now"
    assert (left.volume, left.source, left.note) == ("Volume", "ct.nrrd", "a later note")
    painting, preview = left.read()
    np.testing.assert_array_equal(painting.mask(painting.segments[0]), scene.labels > 0)
    assert preview is None and painting.segments[0].id == "a"
    assert not (folder.path / "volume.nrrd").exists(), "no image outlives its session"
    another = Autosave(scene, tmp_path, "here", told.append)  # type: ignore[arg-type]
    another.replaces(left)
    assert folder.path.exists()
    another.keep_now(TARGET, lambda: "", None)
    assert not folder.path.exists(), "it is kept by the session that took it over"


def test_what_is_due_is_kept_by_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autosave, "QUIET_S", 0.0)
    scene, folder = ArrayScene(SHAPE), JobFolder(tmp_path)
    saving = kept(scene, folder, [])
    saving.poll(TARGET, lambda: "", None)
    saving.close()
    assert saving.is_kept
    result = scene.labels.copy()
    run = SimpleNamespace(
        classes=result,
        segmentation=lambda: autosave.build_annotation(
            scene.segments(TARGET), scene.geometry, 0, {index: ["a"] for index in range(4)}
        ),
    )
    other = JobFolder(tmp_path)
    saving = kept(scene, other, [])
    saving.keep_now(TARGET, lambda: "", run)  # type: ignore[arg-type]
    died(other)
    (left,) = [each for each in leftovers(tmp_path, "here") if each.abandoned.path == other.path]
    assert left.read()[1] is not None


@pytest.mark.parametrize("change", ["forget", "empty", "no place"])
def test_nothing_is_kept_that_nobody_would_miss(change: str, tmp_path: Path) -> None:
    scene, folder = ArrayScene(SHAPE), JobFolder(tmp_path)
    saving = kept(scene, folder, [], "" if change == "no place" else "here")
    if change == "empty":
        scene.labels[:] = 0
    saving.keep_now(TARGET, lambda: "", None)
    if change == "forget":
        assert saving.is_kept
        saving.forget()
    assert not saving.is_kept


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    scene, folder = ArrayScene(SHAPE), JobFolder(tmp_path)
    kept(scene, folder, []).keep_now(TARGET, lambda: "", None)
    died(folder)
    (left,) = leftovers(tmp_path, "here")
    path = folder.path / AUTOSAVE / left.files["painting"]["name"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInputError, match="damaged"):
        left.read()
    left.abandoned.release()
    for record in ("[]", "{", json.dumps({"place": "here"}), "[" * 100_000):
        (folder.path / AUTOSAVE / "record.json").write_text(record)
        assert leftovers(tmp_path, "here") == []


def test_old_work_goes(tmp_path: Path) -> None:
    scene, folder = ArrayScene(SHAPE), JobFolder(tmp_path)
    kept(scene, folder, []).keep_now(TARGET, lambda: "", None)
    died(folder)
    os.utime(folder.path / AUTOSAVE / "record.json", (0, 0))
    assert leftovers(tmp_path, "here") == [] and not folder.path.exists()


def test_a_disk_that_cannot_keep_it_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise BadInputError("The disk is full.", "")

    monkeypatch.setattr(autosave, "write_segmentation", full)
    scene, folder, told = ArrayScene(SHAPE), JobFolder(tmp_path), list[Any]()
    saving = kept(scene, folder, told)
    for _ in range(3):
        saving.mark()
        saving.keep_now(TARGET, lambda: "", None)
    assert len(told) == 1 and "The disk is full." in told[0].message
