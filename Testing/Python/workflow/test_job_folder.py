"""What a session leaves on the disk: nothing, even if its program was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.worker.process import worker_environment
from FewShotSAMLib.workflow.job_folder import JobFolder

OWNER = """
import sys
from pathlib import Path
from FewShotSAMLib.workflow.job_folder import JobFolder
folder = JobFolder(Path(sys.argv[1]))
(folder.path / "volume.nrrd").write_text("a patient")
print(folder.path, flush=True)
sys.stdin.read()
"""


def owner(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another program with a job folder that contains an image."""
    command = [sys.executable, "-c", OWNER, str(parent)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=worker_environment(), encoding="utf-8")
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_program_left_is_cleared_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    parent = tmp_path / "Slicer-é"
    (dead, left), (living, used) = owner(parent), owner(parent)
    try:
        dead.kill()
        dead.wait()
        strange = parent / "fewshotsam-notes"
        strange.mkdir()
        folder = JobFolder(parent)
        assert not left.exists() and (used / "volume.nrrd").is_file() and strange.is_dir()
        assert folder.path.parent == parent and not list(folder.path.iterdir())
        if os.name == "posix":
            assert folder.path.stat().st_mode & 0o077 == 0
        folder.close()
        assert {each.name.partition(".")[0] for each in parent.iterdir()} == {used.name, strange.name}
    finally:
        for process in (dead, living):
            process.kill()
            process.communicate()


def test_two_of_one_program_do_not_clear_each_other(tmp_path: Path) -> None:
    first, second = JobFolder(tmp_path), JobFolder(tmp_path)
    assert first.path.is_dir() and second.path.is_dir() and first.path != second.path
    first.close()
    assert second.path.is_dir()
    second.close()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="choose another temporary folder"):
        JobFolder(tmp_path / "file" / "below")
